// The operator pyramid_warp: on every device, one level after another (arguments/confidence_warp.h).
#pragma once

#include <vector>

#include "arguments/confidence_warp.h"

namespace internet {

template <class Level>
struct PyramidWarpOperator {
  // `confidence` has one entry for all levels, or one for each, or none; `blend` one for each, or none. A
  // tensor with one axis stands for a missing entry (csrc/schema.cpp).
  static std::vector<Tensor> forward(std::vector<Tensor> features, Tensor field,
                                     std::vector<Tensor> confidence, std::vector<Tensor> blend,
                                     std::string upsampling, bool interpolate_align_corners,
                                     std::string padding_mode, bool align_corners) {
    const WarpOptions options(upsampling, interpolate_align_corners, padding_mode, align_corners);
    check_counts(features, confidence, blend);
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < features.size(); ++i) {
      outputs.push_back(
          Level::forward({features[i], field, of_level(confidence, i), of_level(blend, i), options}));
    }
    return outputs;
  }

  static std::tuple<std::vector<Tensor>, Tensor, std::vector<Tensor>, std::vector<Tensor>> backward(
      std::vector<Tensor> grad_outputs, std::vector<Tensor> features, Tensor field,
      std::vector<Tensor> confidence, std::vector<Tensor> blend, std::string upsampling,
      bool interpolate_align_corners, std::string padding_mode, bool align_corners,
      std::vector<bool> need_features, bool need_motion, std::vector<bool> need_blend, bool deterministic) {
    const WarpOptions options(upsampling, interpolate_align_corners, padding_mode, align_corners);
    check_counts(features, confidence, blend);
    STD_TORCH_CHECK(grad_outputs.size() == features.size() && need_features.size() == features.size() &&
                        need_blend.size() == blend.size(),
                    "grad_outputs, need_features and need_blend: expected one of each for every level");
    MapGradient grad_field(field, field, need_motion);
    std::vector<MapGradient> grad_confidence;
    for (const Tensor& map : confidence) grad_confidence.emplace_back(given(map), field, need_motion);
    MapGradient none(std::nullopt, field, false);
    std::vector<Tensor> grad_features, grad_blend, grad_maps;
    for (size_t i = 0; i < features.size(); ++i) {
      const WarpInputs inputs(features[i], field, of_level(confidence, i), of_level(blend, i), options);
      const bool shared = confidence.size() == 1;
      const auto images = Level::backward(grad_outputs[i], inputs, need_features[i],
                                          inputs.blend && need_blend[i], deterministic, grad_field,
                                          confidence.empty() ? none : grad_confidence[shared ? 0 : i]);
      grad_features.push_back(images.features);
      if (!blend.empty()) grad_blend.push_back(images.blend);
    }
    for (MapGradient& map : grad_confidence) grad_maps.push_back(map.finish());
    return {grad_features, grad_field.finish(), grad_maps, grad_blend};
  }

 private:
  static void check_counts(const std::vector<Tensor>& features, const std::vector<Tensor>& confidence,
                           const std::vector<Tensor>& blend) {
    STD_TORCH_CHECK(confidence.size() <= 1 || confidence.size() == features.size(),
                    "confidence: expected one, or one for every level");
    STD_TORCH_CHECK(blend.empty() || blend.size() == features.size(), "blend: expected one for every level");
  }
  static OptionalTensor of_level(const std::vector<Tensor>& tensors, size_t level) {
    if (tensors.empty()) return std::nullopt;
    return given(tensors[tensors.size() == 1 ? 0 : level]);
  }
  static OptionalTensor given(const Tensor& tensor) {
    return tensor.dim() == 1 ? std::nullopt : OptionalTensor(tensor);
  }
};

}  // namespace internet
