// The motion that features are warped by, checked, and its gradient; and the operator confidence_warp, which
// on every device is a level of the pyramid.
#pragma once

#include <tuple>

#include "arguments/checks.h"
#include "arguments/confidence_warp_views.h"

namespace internet {

struct WarpMotion {
  Tensor field;               // (B, h, w, 2)
  OptionalTensor confidence;  // (B, 1, h, w)
  bool border, align_corners;

  WarpMotion(const Tensor& field, const OptionalTensor& confidence, const std::string& padding_mode,
             bool align_corners)
      : field(field),
        confidence(confidence),
        border(choice<2>("padding_mode", padding_mode, {"zeros", "border"}) == 1),
        align_corners(align_corners) {
    STD_TORCH_CHECK(field.dim() == 4, "field: expected (B, h, w, 2)");
  }

  // How many progressive 2x steps it is upsampled to the size of the features; checks their shapes.
  int steps_to(const Tensor& features) const {
    STD_TORCH_CHECK(features.dim() == 4, "features: expected (B, C, H, W)");
    const int64_t batch = features.size(0), h = field.size(1), w = field.size(2);
    check_computed("field", field, features, {batch, h, w, 2});
    if (confidence) check_computed("confidence", *confidence, features, {batch, 1, h, w});
    return upsampling_steps("features: expected a power of two times the size of field", h, w,
                            features.size(2), features.size(3));
  }

  template <class S>
  SampledMotion<S> sampled(const Tensor& features, int steps) const {
    return {.field = strided<const S, 4>(field),
            .confidence = strided<const S, 4>(confidence),
            .batch = features.size(0),
            .height = features.size(2),
            .width = features.size(3),
            .steps = steps,
            .border = border,
            .align_corners = align_corners};
  }
};

// Gradients of field and confidence, summed over the levels in the order of their backward passes.
struct WarpMotionGradient {
  Tensor field, confidence;  // contiguous; empty: not wanted
  bool wanted, has_confidence;
  bool started = false;  // whether a level has written its part: the next one adds to it

  WarpMotionGradient(const WarpMotion& motion, bool wanted)
      : field(nothing(motion.field)),
        confidence(nothing(motion.field)),
        wanted(wanted),
        has_confidence(wanted && motion.confidence) {
    const int64_t batch = motion.field.size(0), h = motion.field.size(1), w = motion.field.size(2);
    const ScalarType type = motion.field.scalar_type();
    if (wanted) field = empty<4>({batch, h, w, 2}, type, motion.field);
    if (has_confidence) confidence = empty<4>({batch, 1, h, w}, type, motion.field);
  }

  // After the last level: zero, if there was none.
  void finish() {
    if (!wanted || started) return;
    torch::stable::zero_(field);
    torch::stable::zero_(confidence);
  }
};

// The operator on a device whose `Level` warps the features of one level:
//   static Tensor forward(features, motion);
//   static Tensor backward(grad_output, features, motion, need_features, deterministic, gradient);
// the second returns the gradient of the features, empty if not needed, and adds to that of the motion.
template <class Level>
struct ConfidenceWarpOperator {
  static Tensor forward(Tensor features, Tensor field, OptionalTensor confidence, std::string padding_mode,
                        bool align_corners) {
    return Level::forward(features, WarpMotion(field, confidence, padding_mode, align_corners));
  }

  static std::tuple<Tensor, Tensor, Tensor> backward(Tensor grad_output, Tensor features, Tensor field,
                                                     OptionalTensor confidence, std::string padding_mode,
                                                     bool align_corners, bool need_features, bool need_motion,
                                                     bool deterministic) {
    const WarpMotion motion(field, confidence, padding_mode, align_corners);
    WarpMotionGradient gradient(motion, need_motion);
    const Tensor grad_features =
        Level::backward(grad_output, features, motion, need_features, deterministic, gradient);
    gradient.finish();
    return {grad_features, gradient.field, gradient.confidence};
  }
};

}  // namespace internet
