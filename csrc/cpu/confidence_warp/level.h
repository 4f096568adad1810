// Eq. 6 at one level, on tensors: shared by the operators confidence_warp and pyramid_warp.
#pragma once

#include "arguments/confidence_warp.h"

namespace internet::cpu {

// The `Level` that arguments/confidence_warp.h describes.
struct WarpLevel {
  static Tensor forward(const WarpInputs& inputs);
  static WarpImageGradients backward(const Tensor& grad_output, const WarpInputs& inputs, bool need_features,
                                     bool need_blend, bool deterministic, MapGradient& field,
                                     MapGradient& confidence);
};

}  // namespace internet::cpu
