// K anchors an image: the four tensors that affine_mixture and anchor_features share, and their gradients.
#pragma once

#include <array>
#include <tuple>

#include "arguments/anchor_views.h"
#include "arguments/checks.h"

namespace internet {

struct Anchors {
  Tensor kp_source, kp_driving;            // (B, K, 2)
  OptionalTensor jac_source, jac_driving;  // (B, K, 2, 2), both or neither

  int64_t batch() const { return kp_source.size(0); }
  int64_t count() const { return kp_source.size(1); }

  // That they go with `data`: its batch and device, and the type it is computed in.
  void check(const Tensor& data) const {
    STD_TORCH_CHECK(kp_source.dim() == 3, "kp_source: expected (B, K, 2)");
    const int64_t b = data.size(0), k = count();
    check_computed("kp_source", kp_source, data, {b, k, 2});
    check_computed("kp_driving", kp_driving, data, {b, k, 2});
    STD_TORCH_CHECK(jac_source.has_value() == jac_driving.has_value(), "give both Jacobians or neither");
    if (jac_source) check_computed("jac_source", *jac_source, data, {b, k, 2, 2});
    if (jac_driving) check_computed("jac_driving", *jac_driving, data, {b, k, 2, 2});
  }

  template <class S>
  AnchorViews<S> views() const {
    return {strided<const S, 3>(kp_source), strided<const S, 3>(kp_driving), strided<const S, 4>(jac_source),
            strided<const S, 4>(jac_driving)};
  }

  // Uninitialised gradients, contiguous; empty for a tensor that is not there.
  std::array<Tensor, 4> empty_gradients() const {
    const ScalarType type = kp_source.scalar_type();
    auto point = [&] { return empty<3>({batch(), count(), 2}, type, kp_source); };
    auto matrix = [&] {
      return jac_source ? empty<4>({batch(), count(), 2, 2}, type, kp_source) : nothing(kp_source);
    };
    return {point(), point(), matrix(), matrix()};
  }
  std::array<Tensor, 4> no_gradients() const {
    return {nothing(kp_source), nothing(kp_source), nothing(kp_source), nothing(kp_source)};
  }
};

// What a backward operator returns: the gradients of its data tensor and of the four of the anchors.
using AnchoredGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

inline AnchoredGradients anchored_gradients(const Tensor& data, const std::array<Tensor, 4>& anchors) {
  return {data, anchors[0], anchors[1], anchors[2], anchors[3]};
}

}  // namespace internet
