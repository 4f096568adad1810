// Eq. 6 at one level, on tensors: what the operators confidence_warp and pyramid_warp share.
#pragma once

#include "glue.h"

namespace internet::cpu {

struct WarpMotion {
  Tensor flow;                // (B, h, w, 2)
  OptionalTensor confidence;  // (B, 1, h, w)
  bool border, align_corners;

  WarpMotion(Tensor flow, OptionalTensor confidence, const std::string& padding_mode, bool align_corners);
};

Tensor warp_level(const Tensor& features, const WarpMotion& motion);

// Gradients of flow and confidence, summed over the levels in the order of their backward passes.
struct WarpMotionGradient {
  Tensor flow, confidence;
  bool wanted, started = false;

  WarpMotionGradient(const WarpMotion& motion, bool wanted);
  void finish();  // zero, if there was no level
};

// Returns the gradient of the features (empty if not needed), adds to that of the motion.
Tensor warp_level_backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                           bool need_features, WarpMotionGradient& gradient);

}  // namespace internet::cpu
