// Expectations under a heat map over N axes: with weights e = exp((l - m)/t), for any m near the largest
// logit,
//
//   kp = sum e z / sum e,   jac = sum e map / sum e,   cov = sum e (z - kp)(z - kp)^T / sum e,
//
// the softmax over a plane, or a volume, without a division per pixel. A part of it can be summed with its
// own m: changing that to another m' multiplies its sums by exp((m - m')/t).
//
// The covariance is summed about the key point, in a second pass: sum e z z^T minus the square of the key
// point would cancel all digits for a narrow heat map. Only x changes along a row, so a row is summed in
// three numbers, sum e d^k with d = x - kp_x and k = 0, 1, 2, and its other coordinates are taken into
// account afterwards.
//
// The gradient, with h = e / sum e and d = z - kp:
//
//   dl(z) = h (<g_kp, d> + <g_jac, map(z) - jac> + <g_cov, d d^T - cov>)/t,   dmap(z) = h g_jac:
//
// the covariance's dependence on kp does not matter, because sum h d = 0. Along a row the first and the last
// product form a polynomial in d_x.
#pragma once

#include "exponential.h"

namespace internet::math {

// The m to subtract, given the largest logit: that itself, or 0 if all are -inf (then e is 0, not NaN).
template <class S>
INTERNET_HD S heat_reference(S largest) {
  return largest == S(-INFINITY) ? S(0) : largest;
}

template <class V>
INTERNET_HD V heat_weight(V logit, ScalarOf<V> reference, ScalarOf<V> per_temperature) {
  return exp_below_88(V((logit - reference) * per_temperature));
}

// The sums of e, e z and e map over some pixels; x first.
template <class S, int N = 2>
struct HeatSums {
  S mass, position[N], jac[N * N];
};

// The sums of e (z - kp)(z - kp)^T: the upper triangle, row after row.
template <int N>
constexpr int triangle = N * (N + 1) / 2;
template <class S, int N = 2>
struct HeatMoments {
  S entry[triangle<N>];
};

// Adds a row, given its three sums and the distances of its other coordinates, y first, from the key point.
template <class V, class S, int N>
INTERNET_HD void add_row(HeatMoments<V, N>& sums, V mass, V first, V second, const S* offset) {
  V* entry = sums.entry;
  *entry++ += second;
  for (int j = 1; j < N; ++j) *entry++ += first * offset[j - 1];
  for (int i = 1; i < N; ++i) {
    for (int j = i; j < N; ++j) *entry++ += mass * (offset[i - 1] * offset[j - 1]);
  }
}

// What the gradient at a pixel depends on, of its heat map.
template <class S, int N = 2>
struct HeatGradient {
  S reference, per_mass;      // m and 1 / sum e
  S position[N], jac[N * N];  // the results
  S grad_position[N], grad_jac[N * N];
  S grad_covariance[triangle<N>];  // upper triangle: each entry's gradient plus that of its mirror entry
  S covariance;                    // <g_cov, cov>
};

// Sets the covariance and its gradient, both N x N.
template <class S, int N>
INTERNET_HD void set_covariance(HeatGradient<S, N>& g, const S* covariance, const S* gradient) {
  S* entry = g.grad_covariance;
  g.covariance = 0;
  for (int i = 0; i < N; ++i) {
    for (int j = i; j < N; ++j, ++entry) {
      *entry = gradient[i * N + j] + (i == j ? S(0) : gradient[j * N + i]);
      g.covariance += *entry * covariance[i * N + j];
    }
  }
}

// <g_kp, d> + <g_cov, d d^T - cov> along a row, as a polynomial in d_x.
template <class S>
struct HeatRow {
  S constant, linear, quadratic;
};
// From the row's other coordinates, y first.
template <class S, int N>
INTERNET_HD HeatRow<S> heat_row(const HeatGradient<S, N>& g, const S* coordinates) {
  S offset[N - 1];
  for (int i = 1; i < N; ++i) offset[i - 1] = coordinates[i - 1] - g.position[i];
  const S* entry = g.grad_covariance;
  HeatRow<S> row{offset[0] * g.grad_position[1], g.grad_position[0], *entry++};
  for (int i = 2; i < N; ++i) row.constant += offset[i - 1] * g.grad_position[i];
  for (int j = 1; j < N; ++j) row.linear += *entry++ * offset[j - 1];
  for (int i = 1; i < N; ++i) {
    for (int j = i; j < N; ++j) row.constant += *entry++ * (offset[i - 1] * offset[j - 1]);
  }
  row.constant -= g.covariance;
  return row;
}

// dl(z) at a pixel of a row. Differences are taken first: under a narrow heat map they are small, and the
// products are not.
template <bool with_map, class V, class S, int N>
INTERNET_HD V heat_logit_gradient(const HeatGradient<S, N>& g, const HeatRow<S>& row, V heat, V x,
                                  const V* map, S per_temperature) {
  const V d = x - g.position[0];
  V pull = d * (d * row.quadratic + row.linear) + row.constant;
  if constexpr (with_map) {
    for (int c = 0; c < N * N; ++c) pull = pull + (map[c] - g.jac[c]) * g.grad_jac[c];
  }
  return heat * pull * per_temperature;
}

}  // namespace internet::math
