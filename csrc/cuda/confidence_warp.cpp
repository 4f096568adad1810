#include "warp_level.h"

namespace internet::cuda {
namespace {

Tensor forward(Tensor features, Tensor flow, OptionalTensor confidence, std::string padding_mode,
               bool align_corners) {
  return warp_level(features, WarpMotion(flow, confidence, padding_mode, align_corners));
}

std::tuple<Tensor, Tensor, Tensor> backward(Tensor grad_output, Tensor features, Tensor flow,
                                            OptionalTensor confidence, std::string padding_mode,
                                            bool align_corners, bool need_features, bool need_motion,
                                            bool deterministic) {
  const WarpMotion motion(flow, confidence, padding_mode, align_corners);
  WarpMotionGradient gradient(motion, need_motion);
  Tensor grad_features =
      warp_level_backward(grad_output, features, motion, need_features, deterministic, gradient);
  finish(gradient);
  return {grad_features, gradient.flow, gradient.confidence};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("confidence_warp", TORCH_BOX(&forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
