// K anchors a batch: from the four tensors to affine maps, and back from their gradients.
#pragma once

#include <array>
#include <vector>

#include "../math/anchor_affine.h"
#include "glue.h"

namespace internet::cpu {

struct Anchors {
  Tensor kp_source, kp_driving;             // (B, K, 2)
  OptionalTensor jac_source, jac_driving;   // (B, K, 2, 2), both or neither

  int64_t batch() const { return kp_source.size(0); }
  int64_t count() const { return kp_source.size(1); }

  void check(const Tensor& data) const {
    int64_t b = data.size(0), k = count();
    check_motion("kp_source", kp_source, data, {b, k, 2});
    check_motion("kp_driving", kp_driving, data, {b, k, 2});
    STD_TORCH_CHECK(jac_source.has_value() == jac_driving.has_value(), "give both Jacobians or neither");
    if (jac_source) check_motion("jac_source", *jac_source, data, {b, k, 2, 2});
    if (jac_driving) check_motion("jac_driving", *jac_driving, data, {b, k, 2, 2});
  }

  // Anchor k of image b, computed with in double: there are few of them, and the inverse deserves it.
  template <class S>
  math::Anchor<double> at(int64_t b, int64_t k) const {
    math::Anchor<double> a{{}, {}, {1, 0, 0, 1}, {1, 0, 0, 1}};
    auto point = [&](const Tensor& tensor, double* out) {
      auto p = strided<const S, 3>(tensor);
      for (int i = 0; i < 2; ++i) out[i] = p.data[b * p.stride[0] + k * p.stride[1] + i * p.stride[2]];
    };
    auto matrix = [&](const OptionalTensor& tensor, double* out) {
      if (!tensor) return;
      auto m = strided<const S, 4>(tensor);
      const S* at = m.data + b * m.stride[0] + k * m.stride[1];
      for (int i = 0; i < 4; ++i) out[i] = at[i / 2 * m.stride[2] + i % 2 * m.stride[3]];
    };
    point(kp_source, a.source);
    point(kp_driving, a.driving);
    matrix(jac_source, a.source_jacobian);
    matrix(jac_driving, a.driving_jacobian);
    return a;
  }

  // (B, K) affine maps.
  template <class S>
  std::vector<math::Affine<S>> affines() const {
    std::vector<math::Affine<S>> maps(batch() * count());
    for (int64_t i = 0; i < int64_t(maps.size()); ++i) {
      auto t = math::anchor_affine(at<S>(i / count(), i % count()));
      maps[i] = {S(t.xx), S(t.xy), S(t.yx), S(t.yy), S(t.x), S(t.y)};
    }
    return maps;
  }

  // Gradients of the four tensors (empty for a tensor that is not there), from those of the affine maps, of
  // which `partials` (B, parts, K) holds summands.
  template <class S>
  std::array<Tensor, 4> gradients(const std::vector<math::Affine<double>>& partials) const {
    std::array<Tensor, 4> out = empty_gradients();
    auto write = [](const Tensor& tensor, int64_t i, const double* values, int n) {
      if (tensor.numel() == 0) return;
      for (int j = 0; j < n; ++j) static_cast<S*>(tensor.data_ptr())[i * n + j] = S(values[j]);
    };
    int64_t parts = batch() * count() == 0 ? 0 : int64_t(partials.size()) / (batch() * count());
    for (int64_t i = 0; i < batch() * count(); ++i) {
      int64_t b = i / count(), k = i % count();
      math::Affine<double> g{};
      for (int64_t part = 0; part < parts; ++part) {
        const auto& s = partials[(b * parts + part) * count() + k];
        g = {g.xx + s.xx, g.xy + s.xy, g.yx + s.yx, g.yy + s.yy, g.x + s.x, g.y + s.y};
      }
      auto by = math::anchor_affine_vjp(at<S>(b, k), g);
      write(out[0], i, by.source, 2);
      write(out[1], i, by.driving, 2);
      write(out[2], i, by.source_jacobian, 4);
      write(out[3], i, by.driving_jacobian, 4);
    }
    return out;
  }

  std::array<Tensor, 4> empty_gradients() const {
    ScalarType type = kp_source.scalar_type();
    auto point = [&] { return empty<3>({batch(), count(), 2}, type, kp_source); };
    auto matrix = [&] {
      return jac_source ? empty<4>({batch(), count(), 2, 2}, type, kp_source) : nothing(kp_source);
    };
    return {point(), point(), matrix(), matrix()};
  }
};

}  // namespace internet::cpu
