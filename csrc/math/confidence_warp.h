// Warping gated by confidence (Eq. 6), for one pixel of the output:
//
//   out_c = M * sum_k w_k phi_c(k),   k over the pixels around the sample: four of an image, eight of a
//   volume,
//
// where w_k is a product of 1-D weights, one per axis. With g the gradient of out and d_k = sum_c g_c
// phi_c(k), the gradients of everything but the features are sums over the same few numbers d_k; so a
// backward pass reads the features once, for these:
//
//   dM = sum_k w_k d_k,   dx = M sum_k (dw_k/dx) d_k,   dy and dz likewise,   dphi_c(k) += M w_k g_c.
//
// A blend b adds (1 - M) b_c to out_c, and to the gradients
//
//   dM -= sum_c g_c b_c,   db_c = (1 - M) g_c.
#pragma once

#include "bilinear.h"

namespace internet::math {

// Returns the gradient with respect to the confidence, and writes those with respect to the normalised
// coordinates into position[N], x first. `scales`: pixels per unit of these (bilinear.h).
template <class V, int N>
INTERNET_HD V motion_gradient(const Axis<V>* axes, V confidence, const Corners<V, N>& corner_dots,
                              const ScalarOf<V>* scales, V* position) {
  V slopes[N];
  blend_slopes(corner_dots, axes, slopes);
  // A sample that does not move with its coordinate has no gradient, not even 0 times a confidence of NaN.
  const V zero = splat<V>(0);
  const auto reads = reads_image<N>(axes);
  for (int i = 0; i < N; ++i) {
    const auto moves = reads & (axes[i].high_slope - axes[i].low_slope > zero);
    position[i] = select(moves, confidence * slopes[i] * scales[i], zero);
  }
  return blend(corner_dots, axes);
}

template <class V>
struct MotionGradient {
  V x, y, confidence;
};
template <class V>
INTERNET_HD MotionGradient<V> motion_gradient(const Axis<V>& x, const Axis<V>& y, V confidence,
                                              const Corners<V>& corner_dots, ScalarOf<V> x_scale,
                                              ScalarOf<V> y_scale) {
  const Axis<V> axes[2] = {x, y};
  const ScalarOf<V> scales[2] = {x_scale, y_scale};
  V position[2];
  const V grad_confidence = motion_gradient(axes, confidence, corner_dots, scales, position);
  return {position[0], position[1], grad_confidence};
}

}  // namespace internet::math
