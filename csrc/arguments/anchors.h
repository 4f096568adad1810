// The K anchors and the background of each image: the five tensors that affine_mixture and anchor_features
// share, and their gradients.
#pragma once

#include <array>
#include <tuple>

#include "arguments/anchor_views.h"
#include "arguments/checks.h"

namespace internet {

// For kp_source, kp_driving, jac_source, jac_driving and background.
using AnchorGradientTensors = std::array<Tensor, 5>;

struct Anchors {
  Tensor kp_source, kp_driving;            // (B, K, n)
  OptionalTensor jac_source, jac_driving;  // (B, K, n, n), both or neither
  OptionalTensor background = {};          // (B, n+1, n+1)

  int64_t batch() const { return kp_source.size(0); }
  int64_t count() const { return kp_source.size(1); }
  int64_t axes() const { return kp_source.size(2); }

  // Checks that they fit `data`, images or volumes: its batch, axes, device and arithmetic type.
  void check(const Tensor& data) const {
    STD_TORCH_CHECK(kp_source.dim() == 3, "kp_source: expected (B, K, n)");
    const int64_t b = data.size(0), k = count(), n = data.dim() - 2;
    check_computed("kp_source", kp_source, data, {b, k, n});
    check_computed("kp_driving", kp_driving, data, {b, k, n});
    STD_TORCH_CHECK(jac_source.has_value() == jac_driving.has_value(), "give both Jacobians or neither");
    if (jac_source) check_computed("jac_source", *jac_source, data, {b, k, n, n});
    if (jac_driving) check_computed("jac_driving", *jac_driving, data, {b, k, n, n});
    if (background) check_computed("background", *background, data, {b, n + 1, n + 1});
  }

  template <class S, int N>
  AnchorViews<S, N> views() const {
    return {strided<const S, 3>(kp_source), strided<const S, 3>(kp_driving), strided<const S, 4>(jac_source),
            strided<const S, 4>(jac_driving), strided<const S, 3>(background)};
  }

  // Uninitialised gradients, contiguous; empty for an absent tensor.
  AnchorGradientTensors empty_gradients() const {
    const ScalarType type = kp_source.scalar_type();
    const int64_t n = axes();
    auto point = [&] { return empty<3>({batch(), count(), n}, type, kp_source); };
    auto matrix = [&] {
      return jac_source ? empty<4>({batch(), count(), n, n}, type, kp_source) : nothing(kp_source);
    };
    const Tensor projective =
        background ? empty<3>({batch(), n + 1, n + 1}, type, kp_source) : nothing(kp_source);
    return {point(), point(), matrix(), matrix(), projective};
  }
  AnchorGradientTensors no_gradients() const {
    const auto none = [&] { return nothing(kp_source); };
    return {none(), none(), none(), none(), none()};
  }
};

// What a backward operator returns: the gradients of its data tensor and of the five tensors of the anchors.
using AnchoredGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

inline AnchoredGradients anchored_gradients(const Tensor& data, const AnchorGradientTensors& anchors) {
  return {data, anchors[0], anchors[1], anchors[2], anchors[3], anchors[4]};
}

}  // namespace internet
