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

  // Their memory, looked up once.
  template <class S>
  struct View {
    Strided<const S, 3> kp_source, kp_driving;
    Strided<const S, 4> jac_source, jac_driving;

    // Anchor k of image b, in double: there are few of them, and the inverse deserves it.
    math::Anchor<double> at(int64_t b, int64_t k) const {
      math::Anchor<double> a{{}, {}, {1, 0, 0, 1}, {1, 0, 0, 1}};
      auto point = [&](const Strided<const S, 3>& p, double* out) {
        for (int i = 0; i < 2; ++i) out[i] = p.data[b * p.stride[0] + k * p.stride[1] + i * p.stride[2]];
      };
      auto matrix = [&](const Strided<const S, 4>& m, double* out) {
        if (m.data == nullptr) return;
        const S* at = m.data + b * m.stride[0] + k * m.stride[1];
        for (int i = 0; i < 4; ++i) out[i] = at[i / 2 * m.stride[2] + i % 2 * m.stride[3]];
      };
      point(kp_source, a.source);
      point(kp_driving, a.driving);
      matrix(jac_source, a.source_jacobian);
      matrix(jac_driving, a.driving_jacobian);
      return a;
    }
  };
  template <class S>
  View<S> view() const {
    return {strided<const S, 3>(kp_source), strided<const S, 3>(kp_driving), strided<const S, 4>(jac_source),
            strided<const S, 4>(jac_driving)};
  }

  // (B, K) affine maps.
  template <class S>
  std::vector<math::Affine<S>> affines() const {
    const View<S> anchors = view<S>();
    const int64_t k = count();
    std::vector<math::Affine<S>> maps(batch() * k);
    for (int64_t i = 0; i < int64_t(maps.size()); ++i) {
      auto t = math::anchor_affine(anchors.at(i / k, i % k));
      maps[i] = {S(t.xx), S(t.xy), S(t.yx), S(t.yy), S(t.x), S(t.y)};
    }
    return maps;
  }

  // Gradients of the four tensors (empty for a tensor that is not there), from those of the affine maps, of
  // which `partials` (B, parts, K) holds summands.
  template <class S>
  std::array<Tensor, 4> gradients(const std::vector<math::Affine<double>>& partials) const {
    std::array<Tensor, 4> out = empty_gradients();
    std::array<S*, 4> to;
    for (int j = 0; j < 4; ++j) to[j] = static_cast<S*>(out[j].data_ptr());
    auto write = [](S* tensor, int64_t i, const double* values, int n) {
      for (int j = 0; j < n; ++j) tensor[i * n + j] = S(values[j]);
    };
    const View<S> anchors = view<S>();
    const int64_t all = batch() * count(), parts = all == 0 ? 0 : int64_t(partials.size()) / all;
    for (int64_t i = 0; i < all; ++i) {
      int64_t b = i / count(), k = i % count();
      math::Affine<double> g{};
      for (int64_t part = 0; part < parts; ++part) {
        const auto& s = partials[(b * parts + part) * count() + k];
        g = {g.xx + s.xx, g.xy + s.xy, g.yx + s.yx, g.yy + s.yy, g.x + s.x, g.y + s.y};
      }
      auto by = math::anchor_affine_vjp(anchors.at(b, k), g);
      write(to[0], i, by.source, 2);
      write(to[1], i, by.driving, 2);
      if (!jac_source) continue;
      write(to[2], i, by.source_jacobian, 4);
      write(to[3], i, by.driving_jacobian, 4);
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
