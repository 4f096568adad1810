// Eq. 6 at one level, on tensors: what the operators confidence_warp and pyramid_warp share.
#pragma once

#include "arguments/confidence_warp.h"

namespace internet::cpu {

// The `Level` of arguments/confidence_warp.h.
struct WarpLevel {
  static Tensor forward(const Tensor& features, const WarpMotion& motion);
  static Tensor backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                         bool need_features, bool deterministic, WarpMotionGradient& gradient);
};

}  // namespace internet::cpu
