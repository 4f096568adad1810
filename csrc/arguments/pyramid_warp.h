// The operator pyramid_warp: on every device, one level after another (arguments/confidence_warp.h).
#pragma once

#include <vector>

#include "arguments/confidence_warp.h"

namespace internet {

template <class Level>
struct PyramidWarpOperator {
  static std::vector<Tensor> forward(std::vector<Tensor> features, Tensor field, OptionalTensor confidence,
                                     std::string padding_mode, bool align_corners) {
    const WarpMotion motion(field, confidence, padding_mode, align_corners);
    std::vector<Tensor> outputs;
    for (const Tensor& level : features) outputs.push_back(Level::forward(level, motion));
    return outputs;
  }

  static std::tuple<std::vector<Tensor>, Tensor, Tensor> backward(
      std::vector<Tensor> grad_outputs, std::vector<Tensor> features, Tensor field, OptionalTensor confidence,
      std::string padding_mode, bool align_corners, std::vector<bool> need_features, bool need_motion,
      bool deterministic) {
    STD_TORCH_CHECK(grad_outputs.size() == features.size() && need_features.size() == features.size(),
                    "grad_outputs, features and need_features: expected one of each for every level");
    const WarpMotion motion(field, confidence, padding_mode, align_corners);
    WarpMotionGradient gradient(motion, need_motion);
    std::vector<Tensor> grad_features;
    for (size_t i = 0; i < features.size(); ++i) {
      grad_features.push_back(
          Level::backward(grad_outputs[i], features[i], motion, need_features[i], deterministic, gradient));
    }
    gradient.finish();
    return {grad_features, gradient.field, gradient.confidence};
  }
};

}  // namespace internet
