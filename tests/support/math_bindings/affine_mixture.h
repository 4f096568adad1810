#pragma once

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "math/affine_mixture.h"
#include "math_bindings/numbers.h"

namespace internet::math {

// Maps along a row, each with the slopes and then the offsets, and the background's point.
using Motions = std::vector<Numbers>;

template <int N>
auto motion_of(const Motions& motions) {
  return [&motions](int k) {
    RowMotion<double, N> motion;
    std::memcpy(&motion, motions[k - 1].data(), sizeof(motion));
    return motion;
  };
}

inline auto exponential_of(const Numbers& logits) {
  double largest = logits[0];
  for (double logit : logits) largest = larger(largest, logit);
  return [&logits, largest](int k) { return exp_below_88(logits[k] - largest); };
}

template <bool thresholded>
Numbers compose_field(const Numbers& logits, const Motions& motions, const Numbers& still, double x,
                      double threshold) {
  return with_axes_of(still, [&](auto n) {
    auto f = compose<thresholded>(int(motions.size()), exponential_of(logits), motion_of<n>(motions),
                                  point_of<n>(still), x, threshold);
    return numbers_of(f.field);
  });
}

template <bool thresholded>
auto compose_gradients(const Numbers& logits, const Motions& motions, const Numbers& still, double x,
                       double threshold, const Numbers& grad) {
  Numbers grad_logit(logits.size());
  Numbers by_motion = with_axes_of(still, [&](auto n) {
    Numbers weights(logits.size());
    const int anchors = int(motions.size());
    const auto exponential = exponential_of(logits);
    const auto motion = motion_of<n>(motions);
    const auto at = point_of<n>(still);
    auto f = compose<thresholded>(anchors, exponential, motion, at, x, threshold);
    auto gradient = composition_gradient<thresholded>(f, anchors, exponential, motion, at, x, threshold,
                                                      point_of<n>(grad));
    each_logit_gradient<thresholded>(gradient, f, anchors, exponential, motion, at, x, threshold,
                                     [&](int k, double logit) { grad_logit[k] = logit; });
    for (int k = 0; k <= anchors; ++k) {
      weights[k] = kept_weight<thresholded>(exponential(k), f.total, threshold) * gradient.per_kept;
    }
    return weights;
  });
  return std::make_pair(grad_logit, by_motion);
}

// Two neighbouring pixels, each with logits and a background of its own.
inline auto compose_two(const std::array<Numbers, 2>& logits, const Motions& motions,
                        const std::array<Numbers, 2>& still, double x, double x_step) {
  std::array<Numbers, 2> kept{Numbers(logits[0].size()), Numbers(logits[1].size())};
  Numbers fields = with_axes_of(still[0], [&](auto n) {
    auto step = [&](int k) { return stepped(motion_of<n>(motions)(k), x_step); };
    const Point<double, n> stills[2] = {point_of<n>(still[0]), point_of<n>(still[1])};
    Composition<double, n> f[2];
    compose_logits<false>(
        int(motions.size()), [&](int k, int i) { return logits[i][k]; }, step, stills, x,
        [&](int k, int i, double e) { kept[i][k] = e; }, f);
    Numbers both = numbers_of(f[0].field), second = numbers_of(f[1].field);
    both.insert(both.end(), second.begin(), second.end());
    return both;
  });
  return std::make_pair(fields, kept);
}

inline void bind_affine_mixture(py::module_& m) {
  m.def("compose_two", &compose_two);
  m.def("compose", &compose_field<false>);
  m.def("compose_thresholded", &compose_field<true>);
  m.def("compose_vjp", &compose_gradients<false>);
  m.def("compose_vjp_thresholded", &compose_gradients<true>);
}

}  // namespace internet::math
