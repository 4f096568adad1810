// Expectations under a heat map: with weights e = exp((l - m)/t), m any number near the largest logit,
//
//   kp = sum e z / sum e,   jac = sum e map / sum e,
//
// the softmax over a plane without a division per pixel. A part of a plane can be summed with an m of its
// own: moving it to another m' multiplies its sums by exp((m - m')/t).
//
// Gradient, with h = e / sum e:
//
//   dl(z) = h (<g_kp, z - kp> + <g_jac, map(z) - jac>)/t,   dmap(z) = h g_jac.
#pragma once

#include "exponential.h"

namespace internet::math {

// What m to subtract, given the largest logit: itself, or 0 where all are -inf (there e is 0, not NaN).
template <class S>
INTERNET_HD S heat_reference(S largest) {
  return largest == S(-INFINITY) ? S(0) : largest;
}

template <class V>
INTERNET_HD V heat_weight(V logit, ScalarOf<V> reference, ScalarOf<V> per_temperature) {
  return exp_below_88(V((logit - reference) * per_temperature));
}

// The sums of e, e x, e y and e map over some pixels.
template <class S>
struct HeatSums {
  S mass, x, y, jac[4];
};

// What the gradient at a pixel needs to know of its plane.
template <class S>
struct HeatGradient {
  S reference, per_mass;  // m and 1 / sum e
  S x, y, jac[4];         // the results
  S grad_x, grad_y, grad_jac[4];
};

// dl(z). The differences come first: under a narrow heat map they are small, and the products are not.
template <bool with_map, class V, class S>
INTERNET_HD V heat_logit_gradient(const HeatGradient<S>& g, V heat, V x, S y, const V* map,
                                  S per_temperature) {
  V pull = (x - g.x) * g.grad_x + (y - g.y) * g.grad_y;
  if constexpr (with_map) {
    for (int c = 0; c < 4; ++c) pull = pull + (map[c] - g.jac[c]) * g.grad_jac[c];
  }
  return heat * pull * per_temperature;
}

}  // namespace internet::math
