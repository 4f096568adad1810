// Eq. 5 at one pixel (or one vector of pixels of a row): a convex mixture of K affine motions and stillness.
//
//   e_k = exp(l_k - max l),  s = sum e,  u_k = max(e_k - t s, 0),  F = sum u_k T_k(z) / sum u_k
//
// is Eq. 5 without a division per anchor: w_k = e_k / s are the softmax weights, and max(w_k - t, 0) scaled
// to sum 1 is u_k / sum u. Motion 0 is the identity.
//
// `exponential(k)` gives e_k for k = 0..K, `motion(k)` the RowMotion of anchor k = 1..K.
#pragma once

#include "anchor_affine.h"

namespace internet::math {

template <class V>
struct Composition {
  V x, y;   // the field
  V total;  // s
  V kept;   // sum u
};

template <bool thresholded, class V>
INTERNET_HD V kept_weight(V e, V total, ScalarOf<V> threshold) {
  if constexpr (!thresholded) return e;
  return at_least(e - total * threshold, 0);
}

template <bool thresholded, class V, class Exponential, class Motion>
INTERNET_HD Composition<V> compose(int anchors, Exponential exponential, Motion motion, V x, ScalarOf<V> y,
                                   ScalarOf<V> threshold) {
  V total = exponential(0);
  if constexpr (thresholded) {
    for (int k = 1; k <= anchors; ++k) total = total + exponential(k);
  }
  V kept = kept_weight<thresholded>(exponential(0), total, threshold);
  V sum_x = kept * x;
  V sum_y = kept * y;
  for (int k = 1; k <= anchors; ++k) {
    auto t = motion(k);
    V weight = kept_weight<thresholded>(exponential(k), total, threshold);
    kept = kept + weight;
    sum_x = sum_x + weight * (t.x_slope * x + t.x_offset);
    sum_y = sum_y + weight * (t.y_slope * x + t.y_offset);
  }
  return {sum_x / kept, sum_y / kept, thresholded ? total : kept, kept};
}

// Gradient g = (gx, gy) by the field -> by each logit, and the weight u_k / sum u with which g reaches T_k.
//
// With c_k = <g, T_k - F>: without threshold dL/dl_k = w_k c_k. With it, dL/dw_k = c_k s / sum u where
// w_k > t, else 0, and the softmax subtracts sum_j w_j dL/dw_j, which is t times the sum of those (the part
// of w_j above t cancels, because sum_j u_j c_j = 0).
//
// emit(k, logit_gradient, weight) is called for k = 0..K.
template <bool thresholded, class V, class Exponential, class Motion, class Emit>
INTERNET_HD void compose_vjp(int anchors, Exponential exponential, Motion motion, V x, ScalarOf<V> y,
                             ScalarOf<V> threshold, V gx, V gy, Emit emit) {
  using S = ScalarOf<V>;
  const V zero = splat<V>(0);
  Composition<V> f = compose<thresholded>(anchors, exponential, motion, x, y, threshold);
  V at_field = gx * f.x + gy * f.y;
  auto centred = [&](int k) {
    if (k == 0) return V(gx * x + gy * y - at_field);
    auto t = motion(k);
    return V(gx * (t.x_slope * x + t.x_offset) + gy * (t.y_slope * x + t.y_offset) - at_field);
  };
  V per_kept = splat<V>(S(1)) / f.kept;
  V per_total = thresholded ? splat<V>(S(1)) / f.total : per_kept;
  V scale = thresholded ? f.total * per_kept : splat<V>(1);
  V pull = zero;
  if constexpr (thresholded) {
    for (int k = 0; k <= anchors; ++k) {
      V weight = kept_weight<thresholded>(exponential(k), f.total, threshold);
      pull = pull + select(weight > zero, centred(k), zero);
    }
    pull = pull * scale * threshold;
  }
  for (int k = 0; k <= anchors; ++k) {
    V e = exponential(k);
    V weight = kept_weight<thresholded>(e, f.total, threshold);
    V by_weight = centred(k) * scale;
    if constexpr (thresholded) by_weight = select(weight > zero, by_weight, zero) - pull;
    emit(k, e * per_total * by_weight, weight * per_kept);
  }
}

}  // namespace internet::math
