#include "warp_level.h"

namespace internet::cuda {
namespace {

std::vector<Tensor> forward(std::vector<Tensor> features, Tensor flow, OptionalTensor confidence,
                            std::string padding_mode, bool align_corners) {
  const WarpMotion motion(flow, confidence, padding_mode, align_corners);
  std::vector<Tensor> outputs;
  for (const Tensor& level : features) outputs.push_back(warp_level(level, motion));
  return outputs;
}

std::tuple<std::vector<Tensor>, Tensor, Tensor> backward(std::vector<Tensor> grad_outputs,
                                                         std::vector<Tensor> features, Tensor flow,
                                                         OptionalTensor confidence, std::string padding_mode,
                                                         bool align_corners, std::vector<bool> need_features,
                                                         bool need_motion, bool deterministic) {
  STD_TORCH_CHECK(grad_outputs.size() == features.size() && need_features.size() == features.size(),
                  "grad_outputs, features and need_features: expected one of each for every level");
  const WarpMotion motion(flow, confidence, padding_mode, align_corners);
  WarpMotionGradient gradient(motion, need_motion);
  std::vector<Tensor> grad_features;
  for (size_t i = 0; i < features.size(); ++i) {
    grad_features.push_back(
        warp_level_backward(grad_outputs[i], features[i], motion, need_features[i], deterministic, gradient));
  }
  finish(gradient);
  return {grad_features, gradient.flow, gradient.confidence};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("pyramid_warp", TORCH_BOX(&forward));
  m.impl("pyramid_warp_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
