// The arguments of volume_warp, checked.
#pragma once

#include <tuple>

#include "arguments/checks.h"
#include "arguments/volume_warp_views.h"

namespace internet {

struct VolumeWarpArguments {
  Tensor volume;              // (B, C, D, H, W)
  Tensor field;               // (B, d, h, w, 3)
  OptionalTensor confidence;  // (B, 1, d, h, w)
  bool border, align_corners;

  VolumeWarpArguments(const Tensor& volume, const Tensor& field, const OptionalTensor& confidence,
                      const std::string& padding_mode, bool align_corners)
      : volume(volume),
        field(field),
        confidence(confidence),
        border(choice<2>("padding_mode", padding_mode, {"zeros", "border"}) == 1),
        align_corners(align_corners) {
    STD_TORCH_CHECK(volume.dim() == 5, "volume: expected (B, C, D, H, W)");
    STD_TORCH_CHECK(field.dim() == 5, "field: expected (B, d, h, w, 3)");
    check_computed("field", field, volume, {batch(), depth(), height(), width(), 3});
    if (confidence)
      check_computed("confidence", *confidence, volume, {batch(), 1, depth(), height(), width()});
  }

  int64_t batch() const { return volume.size(0); }
  int64_t channels() const { return volume.size(1); }
  // The size of the output.
  int64_t depth() const { return field.size(1); }
  int64_t height() const { return field.size(2); }
  int64_t width() const { return field.size(3); }

  template <class S>
  SampledVolume<S> samples() const {
    return {.field = strided<const S, 5>(field),
            .confidence = strided<const S, 5>(confidence),
            .batch = batch(),
            .depth = depth(),
            .height = height(),
            .width = width(),
            .size = {volume.size(4), volume.size(3), volume.size(2)},
            .border = border,
            .align_corners = align_corners};
  }

  // In the memory format of the volume.
  Tensor empty_output() const {
    return empty_image<5>({batch(), channels(), depth(), height(), width()}, volume.scalar_type(), volume);
  }
  void check_grad_output(const Tensor& grad_output) const {
    check_storage("grad_output", grad_output, volume, {batch(), channels(), depth(), height(), width()});
  }
  // Uninitialised gradients of field and confidence, contiguous; empty if they are not wanted, or absent.
  Tensor empty_grad_field(bool wanted) const {
    if (!wanted) return nothing(field);
    return empty<5>({batch(), depth(), height(), width(), 3}, field.scalar_type(), field);
  }
  Tensor empty_grad_confidence(bool wanted) const {
    if (!wanted || !confidence) return nothing(field);
    return empty<5>({batch(), 1, depth(), height(), width()}, field.scalar_type(), field);
  }
};

// What the backward operator returns: the gradients of volume, field and confidence.
using VolumeWarpGradients = std::tuple<Tensor, Tensor, Tensor>;

}  // namespace internet
