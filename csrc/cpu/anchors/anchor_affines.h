// From anchors to affine maps, and from the maps' gradients to the anchors'; likewise the background's
// projective map.
#pragma once

#include <vector>

#include "arguments/anchors.h"
#include "cpu/runtime/launch.h"

namespace internet::cpu {

// (B, K) affine maps.
template <class S, int N>
std::vector<math::Affine<S, N>> affines(const Anchors& anchors) {
  const auto views = anchors.views<S, N>();
  std::vector<math::Affine<S, N>> maps(anchors.batch() * anchors.count());
  for (int64_t i = 0; i < int64_t(maps.size()); ++i) {
    maps[i] = math::anchor_affine(views.at(i / anchors.count(), i % anchors.count())).template to<S>();
  }
  return maps;
}

// (B) projective maps, or none.
template <class S, int N>
std::vector<math::Projective<S, N>> backgrounds(const Anchors& anchors) {
  const auto views = anchors.views<S, N>();
  std::vector<math::Projective<S, N>> maps(anchors.background ? anchors.batch() : 0);
  for (int64_t b = 0; b < int64_t(maps.size()); ++b) maps[b] = projective<N>(views.background, b);
  return maps;
}

// Partial sums of the gradients with respect to an image's maps.
template <int N>
struct MapPartials {
  std::vector<math::Affine<double, N>> affine;          // (B, parts, K)
  std::vector<math::Projective<double, N>> background;  // (B, parts); empty: no background
};

// The gradient of map i of image b: its `parts` partial sums, of which each part has `maps`, added in order.
template <class Map>
Map sum_of_parts(const std::vector<Map>& partials, int64_t parts, int64_t maps, int64_t b, int64_t i) {
  Map sum{};
  for (int64_t part = 0; part < parts; ++part) sum.add(partials[(b * parts + part) * maps + i]);
  return sum;
}

// Gradients of the five tensors (empty for an absent one), from the gradients of the maps.
template <class S, int N>
AnchorGradientTensors gradients(const Anchors& anchors, const MapPartials<N>& partials) {
  AnchorGradientTensors out = anchors.empty_gradients();
  auto write = [&](int tensor, int64_t i, const double* values, int count) {
    S* to = static_cast<S*>(out[tensor].data_ptr()) + i * count;
    for (int j = 0; j < count; ++j) to[j] = S(values[j]);
  };
  const auto views = anchors.views<S, N>();
  const int64_t batch = anchors.batch(), count = anchors.count();
  const int64_t parts = batch * count == 0 ? 0 : int64_t(partials.affine.size()) / (batch * count);
  for (int64_t i = 0; i < batch * count; ++i) {
    const int64_t b = i / count, k = i % count;
    const auto grad =
        math::anchor_affine_vjp(views.at(b, k), sum_of_parts(partials.affine, parts, count, b, k));
    write(0, i, grad.source, N);
    write(1, i, grad.driving, N);
    if (!anchors.jac_source) continue;
    write(2, i, grad.source_jacobian[0], N * N);
    write(3, i, grad.driving_jacobian[0], N * N);
  }
  if (!anchors.background) return out;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t background_parts = int64_t(partials.background.size()) / batch;
    const auto grad = sum_of_parts(partials.background, background_parts, 1, b, 0);
    for (int i = 0; i <= N; ++i) {
      double row[N + 1];
      std::copy_n(grad.matrix[i], N, row);
      row[N] = grad.offset[i];
      write(4, b * (N + 1) + i, row, N + 1);
    }
  }
  return out;
}

}  // namespace internet::cpu
