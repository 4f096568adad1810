// Eq. 6 at one level, on tensors: what the operators confidence_warp and pyramid_warp share.
#pragma once

#include "arguments/confidence_warp.h"

namespace internet::cpu {

// As arguments/confidence_warp.h asks for it.
struct WarpLevel {
  static Tensor forward(const Tensor& features, const WarpMotion& motion);
  static Tensor backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                         bool need_features, bool deterministic, WarpMotionGradient& gradient);
};

}  // namespace internet::cpu
