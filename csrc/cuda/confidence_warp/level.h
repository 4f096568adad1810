// Eq. 6 at one level, on tensors: shared by the operators confidence_warp and pyramid_warp.
#pragma once

#include "arguments/confidence_warp.h"

namespace internet::cuda {

// The `Level` that arguments/confidence_warp.h describes. Its backward pass is always bitwise repeatable,
// whether or not that is requested.
struct WarpLevel {
  static Tensor forward(const WarpInputs& inputs);
  static WarpImageGradients backward(const Tensor& grad_output, const WarpInputs& inputs, bool need_features,
                                     bool need_blend, bool deterministic, MapGradient& field,
                                     MapGradient& confidence);
};

}  // namespace internet::cuda
