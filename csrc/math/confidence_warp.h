// Warping gated by confidence (Eq. 6), at one pixel of the output:
//
//   out_c = M * sum_k w_k phi_c(k),   k over the four pixels around the sample (x, y),
//
// w_k a product of two 1-D weights. With g the gradient of out and d_k = sum_c g_c phi_c(k), the gradients
// of everything but the features are sums over the same four numbers d_k; a backward pass reads the
// features once, for these:
//
//   dM = sum_k w_k d_k,   dx = M sum_k (dw_k/dx) d_k,   dy likewise,   dphi_c(k) += M w_k g_c.
#pragma once

#include "bilinear.h"

namespace internet::math {

// One value for each of the four pixels: north is the lower row index, west the lower column index.
template <class V>
struct Corners {
  V nw, ne, sw, se;
};

template <class V>
INTERNET_HD Corners<V> corner_weights(const Axis<V>& x, const Axis<V>& y) {
  return {y.low_weight * x.low_weight, y.low_weight * x.high_weight, y.high_weight * x.low_weight,
          y.high_weight * x.high_weight};
}

template <class V>
INTERNET_HD V weighted_sum(const Corners<V>& weights, const Corners<V>& values) {
  return weights.nw * values.nw + weights.ne * values.ne + weights.sw * values.sw + weights.se * values.se;
}

// dots += gradient * values: a channel's part of d_k.
template <class V>
INTERNET_HD void add_scaled(Corners<V>& dots, V gradient, const Corners<V>& values) {
  dots.nw += gradient * values.nw;
  dots.ne += gradient * values.ne;
  dots.sw += gradient * values.sw;
  dots.se += gradient * values.se;
}

// Whether the sample reads anything: where it does not, the output is 0 whatever the pixels hold, and its
// kernels must not multiply them, which could be infinite.
template <class V>
INTERNET_HD auto reads_image(const Axis<V>& x, const Axis<V>& y) {
  const V zero = splat<V>(0);
  return (x.low_weight + x.high_weight > zero) & (y.low_weight + y.high_weight > zero);
}

template <class V>
struct MotionGradient {
  V x, y, confidence;  // x and y by the normalised coordinates
};

// `x_scale`, `y_scale`: pixels per unit of the normalised coordinates (bilinear.h).
template <class V>
INTERNET_HD MotionGradient<V> motion_gradient(const Axis<V>& x, const Axis<V>& y, V confidence,
                                              const Corners<V>& dots, ScalarOf<V> x_scale,
                                              ScalarOf<V> y_scale) {
  const V north = x.low_weight * dots.nw + x.high_weight * dots.ne;
  const V south = x.low_weight * dots.sw + x.high_weight * dots.se;
  const V west = y.low_weight * dots.nw + y.high_weight * dots.sw;
  const V east = y.low_weight * dots.ne + y.high_weight * dots.se;
  // What does not move with its coordinate has no gradient, though it be zero times a confidence of NaN.
  const V zero = splat<V>(0);
  const auto reads = reads_image(x, y);
  const auto moves_x = reads & (x.high_slope - x.low_slope > zero);
  const auto moves_y = reads & (y.high_slope - y.low_slope > zero);
  MotionGradient<V> g;
  g.confidence = y.low_weight * north + y.high_weight * south;
  g.x = select(moves_x, confidence * (x.low_slope * west + x.high_slope * east) * x_scale, zero);
  g.y = select(moves_y, confidence * (y.low_slope * north + y.high_slope * south) * y_scale, zero);
  return g;
}

}  // namespace internet::math
