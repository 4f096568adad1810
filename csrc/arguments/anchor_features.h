// The arguments of anchor_features, checked.
#pragma once

#include "arguments/anchors.h"
#include "math/anchor_features.h"

namespace internet {

struct AnchorFeaturesArguments {
  Tensor source;  // (B, C, H, W)
  Anchors anchors;
  double variance;
  bool align_corners, grid_align_corners;

  AnchorFeaturesArguments(const Tensor& source, const Anchors& anchors, double variance, bool align_corners,
                          bool grid_align_corners)
      : source(source),
        anchors(anchors),
        variance(variance),
        align_corners(align_corners),
        grid_align_corners(grid_align_corners) {
    STD_TORCH_CHECK(source.dim() == 4, "source: expected (B, C, H, W)");
    anchors.check(source);
  }

  int64_t batch() const { return source.size(0); }
  int64_t channels() const { return source.size(1); }
  int64_t height() const { return source.size(2); }
  int64_t width() const { return source.size(3); }
  int64_t output_channels() const { return (anchors.count() + 1) * (1 + channels()); }

  math::PixelAxis<double> x_axis() const { return {double(width()), align_corners, grid_align_corners}; }
  math::PixelAxis<double> y_axis() const { return {double(height()), align_corners, grid_align_corners}; }

  // In the memory format of the source.
  Tensor empty_output() const {
    return empty_image<4>({batch(), output_channels(), height(), width()}, source.scalar_type(), source);
  }
  void check_grad_output(const Tensor& grad_output) const {
    check_storage("grad_output", grad_output, source, {batch(), output_channels(), height(), width()});
  }
};

}  // namespace internet
