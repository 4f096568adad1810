// The tensors and options of a warp, checked, and the gradients of its maps; and the operator
// confidence_warp, which on every device is a single level of pyramid_warp.
#pragma once

#include <tuple>

#include "arguments/checks.h"
#include "arguments/confidence_warp_views.h"

namespace internet {

struct WarpOptions {
  bool interpolates, interpolate_align_corners, border, align_corners;

  WarpOptions(const std::string& upsampling, bool interpolate_align_corners, const std::string& padding_mode,
              bool align_corners)
      : interpolates(choice<2>("upsampling", upsampling, {"progressive", "interpolate"}) == 1),
        interpolate_align_corners(interpolate_align_corners),
        border(choice<2>("padding_mode", padding_mode, {"zeros", "border"}) == 1),
        align_corners(align_corners) {}

  // How a map of h x w is resized to the features.
  MapResize resize(int64_t h, int64_t w, const Tensor& features) const {
    MapResize resize{.height = h,
                     .width = w,
                     .fine_height = features.size(2),
                     .fine_width = features.size(3),
                     .steps = 0,
                     .interpolates = false,
                     .interpolation_aligns_corners = interpolate_align_corners};
    auto is_larger_by = [&](int64_t ratio) {
      return ratio * h == resize.fine_height && ratio * w == resize.fine_width;
    };
    if (!interpolates) {
      resize.steps = upsampling_steps("features: expected a power of two times the size of the map", h, w,
                                      resize.fine_height, resize.fine_width);
    } else if (is_larger_by(2) && !interpolate_align_corners) {
      resize.steps = 1;  // the same weights
    } else if (!is_larger_by(1)) {
      STD_TORCH_CHECK(features.numel() == 0 || (h > 0 && w > 0), "interpolation needs at least one pixel");
      resize.interpolates = true;
    }
    return resize;
  }
};

// The tensors of one level.
struct WarpInputs {
  Tensor features;            // (B, C, H, W)
  Tensor field;               // (B, h, w, 2)
  OptionalTensor confidence;  // (B, 1, h', w')
  OptionalTensor blend;       // (B, C, H, W), needs the confidence
  bool border, align_corners;
  MapResize field_resize, confidence_resize;

  WarpInputs(const Tensor& features, const Tensor& field, const OptionalTensor& confidence,
             const OptionalTensor& blend, const WarpOptions& options)
      : features(features),
        field(field),
        confidence(confidence),
        blend(blend),
        border(options.border),
        align_corners(options.align_corners) {
    STD_TORCH_CHECK(features.dim() == 4, "features: expected (B, C, H, W)");
    STD_TORCH_CHECK(field.dim() == 4, "field: expected (B, h, w, 2)");
    const int64_t batch = features.size(0), h = field.size(1), w = field.size(2);
    check_computed("field", field, features, {batch, h, w, 2});
    field_resize = confidence_resize = options.resize(h, w, features);
    if (confidence) {
      STD_TORCH_CHECK(confidence->dim() == 4, "confidence: expected (B, 1, h, w)");
      const int64_t rows = confidence->size(2), columns = confidence->size(3);
      check_computed("confidence", *confidence, features, {batch, 1, rows, columns});
      confidence_resize = options.resize(rows, columns, features);
    }
    STD_TORCH_CHECK(!blend || confidence, "blend: expected a confidence beside it");
    if (blend) check_like("blend", *blend, features);
  }

  template <class S>
  SampledMotion<S> sampled() const {
    return {.field = strided<const S, 4>(field),
            .confidence = strided<const S, 4>(confidence),
            .field_resize = field_resize,
            .confidence_resize = confidence_resize,
            .batch = features.size(0),
            .height = features.size(2),
            .width = features.size(3),
            .border = border,
            .align_corners = align_corners};
  }
};

// The gradient of a coarse map, accumulated over the levels that read it, in the order of their backward
// passes.
struct MapGradient {
  Tensor gradient;  // contiguous; empty: not wanted
  bool wanted;
  bool started = false;  // whether a level has written its part; the next one then adds to it

  MapGradient(const OptionalTensor& map, const Tensor& like, bool wanted)
      : gradient(nothing(like)), wanted(wanted && map) {
    if (this->wanted) {
      gradient = empty<4>({map->size(0), map->size(1), map->size(2), map->size(3)}, like.scalar_type(), like);
    }
  }

  // Called after the last level: zero, if there was none.
  const Tensor& finish() {
    if (wanted && !started) torch::stable::zero_(gradient);
    return gradient;
  }
};

// The gradients of a level's images; empty if not needed.
struct WarpImageGradients {
  Tensor features, blend;
};

// The operator on a device, whose `Level` warps the features of one level:
//   static Tensor forward(inputs);
//   static WarpImageGradients backward(grad_output, inputs, need_features, need_blend, deterministic, field,
//                                      confidence);
// The latter adds to the gradients of the two maps, which are its last arguments.
template <class Level>
struct ConfidenceWarpOperator {
  static Tensor forward(Tensor features, Tensor field, OptionalTensor confidence, OptionalTensor blend,
                        std::string upsampling, bool interpolate_align_corners, std::string padding_mode,
                        bool align_corners) {
    const WarpOptions options(upsampling, interpolate_align_corners, padding_mode, align_corners);
    return Level::forward({features, field, confidence, blend, options});
  }

  static std::tuple<Tensor, Tensor, Tensor, Tensor> backward(
      Tensor grad_output, Tensor features, Tensor field, OptionalTensor confidence, OptionalTensor blend,
      std::string upsampling, bool interpolate_align_corners, std::string padding_mode, bool align_corners,
      bool need_features, bool need_motion, bool need_blend, bool deterministic) {
    const WarpOptions options(upsampling, interpolate_align_corners, padding_mode, align_corners);
    MapGradient grad_field(field, field, need_motion), grad_confidence(confidence, field, need_motion);
    const auto images =
        Level::backward(grad_output, {features, field, confidence, blend, options}, need_features,
                        need_blend && blend.has_value(), deterministic, grad_field, grad_confidence);
    return {images.features, grad_field.finish(), grad_confidence.finish(), images.blend};
  }
};

}  // namespace internet
