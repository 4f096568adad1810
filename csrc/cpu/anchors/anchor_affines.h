// From anchors to affine maps, and back from their gradients.
#pragma once

#include <vector>

#include "arguments/anchors.h"
#include "cpu/runtime/launch.h"

namespace internet::cpu {

// (B, K) affine maps.
template <class S>
std::vector<math::Affine<S>> affines(const Anchors& anchors) {
  const AnchorViews<S> views = anchors.views<S>();
  std::vector<math::Affine<S>> maps(anchors.batch() * anchors.count());
  for (int64_t i = 0; i < int64_t(maps.size()); ++i) {
    auto t = math::anchor_affine(views.at(i / anchors.count(), i % anchors.count()));
    maps[i] = {S(t.xx), S(t.xy), S(t.yx), S(t.yy), S(t.x), S(t.y)};
  }
  return maps;
}

// Gradients of the four tensors (empty for a tensor that is not there), from those of the affine maps, of
// which `partials` (B, parts, K) holds summands.
template <class S>
std::array<Tensor, 4> gradients(const Anchors& anchors, const std::vector<math::Affine<double>>& partials) {
  std::array<Tensor, 4> out = anchors.empty_gradients();
  std::array<S*, 4> to;
  for (int j = 0; j < 4; ++j) to[j] = static_cast<S*>(out[j].data_ptr());
  auto write = [](S* tensor, int64_t i, const double* values, int n) {
    for (int j = 0; j < n; ++j) tensor[i * n + j] = S(values[j]);
  };
  const AnchorViews<S> views = anchors.views<S>();
  int64_t count = anchors.count(), all = anchors.batch() * count;
  int64_t parts = all == 0 ? 0 : int64_t(partials.size()) / all;
  for (int64_t i = 0; i < all; ++i) {
    int64_t b = i / count, k = i % count;
    math::Affine<double> g{};
    for (int64_t part = 0; part < parts; ++part) {
      const auto& s = partials[(b * parts + part) * count + k];
      g = {g.xx + s.xx, g.xy + s.xy, g.yx + s.yx, g.yy + s.yy, g.x + s.x, g.y + s.y};
    }
    const auto grad = math::anchor_affine_vjp(views.at(b, k), g);
    write(to[0], i, grad.source, 2);
    write(to[1], i, grad.driving, 2);
    if (!anchors.jac_source) continue;
    write(to[2], i, grad.source_jacobian, 4);
    write(to[3], i, grad.driving_jacobian, 4);
  }
  return out;
}

}  // namespace internet::cpu
