// Eq. 6 at one level, on tensors: what the operators confidence_warp and pyramid_warp share.
#pragma once

#include "../warp_motion.h"

namespace internet::cuda {

Tensor warp_level(const Tensor& features, const WarpMotion& motion);

// Returns the gradient of the features (empty if not needed), adds to that of the motion.
Tensor warp_level_backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                           bool need_features, bool deterministic, WarpMotionGradient& gradient);

// Zero, if there was no level.
void finish(WarpMotionGradient& gradient);

}  // namespace internet::cuda
