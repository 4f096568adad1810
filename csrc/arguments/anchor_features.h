// The arguments of anchor_features, checked.
#pragma once

#include "arguments/anchor_features_views.h"
#include "arguments/anchors.h"

namespace internet {

struct AnchorFeaturesArguments {
  Tensor source;  // (B, C, H, W) or (B, C, D, H, W)
  Anchors anchors;
  OptionalTensor covariance_source, covariance_driving;  // (B, K, n, n), both or neither
  double variance;
  bool align_corners, grid_align_corners;

  AnchorFeaturesArguments(const Tensor& source, const Anchors& anchors,
                          const OptionalTensor& covariance_source, const OptionalTensor& covariance_driving,
                          double variance, bool align_corners, bool grid_align_corners)
      : source(source),
        anchors(anchors),
        covariance_source(covariance_source),
        covariance_driving(covariance_driving),
        variance(variance),
        align_corners(align_corners),
        grid_align_corners(grid_align_corners) {
    STD_TORCH_CHECK(source.dim() == 4 || source.dim() == 5,
                    "source: expected (B, C, H, W) or (B, C, D, H, W)");
    anchors.check(source);
    STD_TORCH_CHECK(covariance_source.has_value() == covariance_driving.has_value(),
                    "give both covariances or neither");
    const int64_t b = batch(), k = anchors.count(), n = axes();
    if (covariance_source) check_computed("covariance_source", *covariance_source, source, {b, k, n, n});
    if (covariance_driving) check_computed("covariance_driving", *covariance_driving, source, {b, k, n, n});
  }

  int64_t batch() const { return source.size(0); }
  int64_t channels() const { return source.size(1); }
  int64_t axes() const { return source.dim() - 2; }
  int64_t size(int64_t axis) const { return source.size(source.dim() - 1 - axis); }  // x first
  int64_t output_channels() const { return (anchors.count() + 1) * (1 + channels()); }

  // For a source with n axes.
  template <int n>
  std::array<math::PixelAxis<double>, n> pixel_axes() const {
    auto axis = [&](int a) {
      return math::PixelAxis<double>(double(size(a)), align_corners, grid_align_corners);
    };
    if constexpr (n == 2) {
      return {axis(0), axis(1)};
    } else {
      return {axis(0), axis(1), axis(2)};
    }
  }
  template <class S, int n>
  HeatMapViews<S, n> heat_map_views() const {
    return {anchors.views<S, n>(), strided<const S, 4>(covariance_source),
            strided<const S, 4>(covariance_driving), variance};
  }

  // In the memory format of the source.
  Tensor empty_output() const {
    if (axes() == 2) return empty_image(output_size<4>(), source.scalar_type(), source);
    return empty_image(output_size<5>(), source.scalar_type(), source);
  }
  void check_grad_output(const Tensor& grad_output) const {
    bool same = grad_output.dim() == source.dim() && grad_output.size(1) == output_channels();
    for (int64_t axis = 0; same && axis < source.dim(); ++axis) {
      same = axis == 1 || grad_output.size(axis) == source.size(axis);
    }
    STD_TORCH_CHECK(same, "grad_output: unexpected shape");
    check_type("grad_output", grad_output, source.scalar_type(), source);
  }

 private:
  template <size_t rank>
  std::array<int64_t, rank> output_size() const {
    std::array<int64_t, rank> size = sizes_of<rank>(source);
    size[1] = output_channels();
    return size;
  }
};

// What the backward operator returns: the gradients of the source, of the five tensors of the anchors and of
// the covariances.
using AnchorFeaturesGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// The gradients of all seven tensors except the source; empty until they are computed.
struct AnchorFeaturesPointGradients {
  AnchorGradientTensors anchors;
  Tensor covariance_source, covariance_driving;

  explicit AnchorFeaturesPointGradients(const AnchorFeaturesArguments& a)
      : anchors(a.anchors.no_gradients()),
        covariance_source(nothing(a.anchors.kp_source)),
        covariance_driving(nothing(a.anchors.kp_source)) {}
};

}  // namespace internet
