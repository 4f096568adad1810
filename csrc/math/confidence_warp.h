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

template <class V>
struct MotionGradient {
  V x, y, confidence;  // x and y: with respect to the normalised coordinates
};

// `x_scale`, `y_scale`: pixels per unit of the normalised coordinates (bilinear.h).
template <class V>
INTERNET_HD MotionGradient<V> motion_gradient(const Axis<V>& x, const Axis<V>& y, V confidence,
                                              const Corners<V>& corner_dots, ScalarOf<V> x_scale,
                                              ScalarOf<V> y_scale) {
  const BlendSlopes<V> slopes = blend_slopes(corner_dots, x, y);
  // What does not move with its coordinate has no gradient, not even 0 times a confidence of NaN.
  const V zero = splat<V>(0);
  const auto reads = reads_image(x, y);
  const auto moves_x = reads & (x.high_slope - x.low_slope > zero);
  const auto moves_y = reads & (y.high_slope - y.low_slope > zero);
  MotionGradient<V> g;
  g.x = select(moves_x, confidence * slopes.x * x_scale, zero);
  g.y = select(moves_y, confidence * slopes.y * y_scale, zero);
  g.confidence = blend(corner_dots, x, y);
  return g;
}

}  // namespace internet::math
