// Eq. 5 at one pixel (or one vector of pixels of a row): a convex mixture of K affine motions and the
// identity.
//
//   e_k = exp(l_k - m),  s = sum e,  u_k = max(e_k - t s, 0),  F = sum u_k T_k(z) / sum u_k
//
// is Eq. 5 without a division per anchor, whatever m is: w_k = e_k / s are the softmax weights, and
// max(w_k - t, 0) scaled to sum 1 is u_k / sum u. Motion 0 is the identity.
//
// `exponential(k)` gives e_k for k = 0..K, `motion(k)` the RowMotion of anchor k = 1..K.
#pragma once

#include "anchor_affine.h"
#include "exponential.h"

namespace internet::math {

template <class V>
struct Composition {
  V x, y;   // the field
  V total;  // s
  V kept;   // sum u
};

// Sums over the anchors, one by one.
template <class V>
struct WeightedMotions {
  V weight, x, y;

  INTERNET_MEMBER void start(V w, V to_x, ScalarOf<V> to_y) {
    weight = w;
    x = w * to_x;
    y = w * to_y;
  }
  INTERNET_MEMBER void add(V w, Point<V> to) {
    weight = weight + w;
    x = x + w * to.x;
    y = y + w * to.y;
  }
  INTERNET_MEMBER Composition<V> mean(V total) const {
    V per_weight = splat<V>(1) / weight;
    return {x * per_weight, y * per_weight, total, weight};
  }
};

template <bool thresholded, class V>
INTERNET_HD V kept_weight(V e, V total, ScalarOf<V> threshold) {
  if constexpr (!thresholded) return e;
  const V kept = e - total * threshold;
  return select(kept <= splat<V>(0), splat<V>(0), kept);  // NaN stays NaN
}

template <bool thresholded, class V, class Exponential, class Motion>
INTERNET_HD Composition<V> compose(int anchors, Exponential exponential, Motion motion, V x, ScalarOf<V> y,
                                   ScalarOf<V> threshold) {
  V total = exponential(0);
  if constexpr (thresholded) {
    for (int k = 1; k <= anchors; ++k) total = total + exponential(k);
  }
  WeightedMotions<V> sum;
  sum.start(kept_weight<thresholded>(exponential(0), total, threshold), x, y);
  for (int k = 1; k <= anchors; ++k) {
    sum.add(kept_weight<thresholded>(exponential(k), total, threshold), motion(k).at(x));
  }
  return sum.mean(thresholded ? total : sum.weight);
}

// A RowMotion, and how far it moves from one vector of pixels to the next of the row.
template <class S>
struct SteppedMotion {
  RowMotion<S> row;
  S x_step, y_step;

  template <class V>
  INTERNET_MEMBER Point<V> next(Point<V> to) const {
    return {to.x + x_step, to.y + y_step};
  }
};

// One pass over the logits of n neighbouring vectors of pixels: the sums for `compose` without threshold, and
// the largest logit of every pixel. `shifted(l, i)` is what to take the exponential of.
template <int n, class V, class Logit, class Motion, class Shifted, class Keep>
INTERNET_HD void sum_motions(int anchors, Logit logit, Motion motion, const V (&x)[n], ScalarOf<V> y,
                             Shifted shifted, Keep keep, WeightedMotions<V> (&sum)[n], V (&largest)[n]) {
  auto weight = [&](int k, int i, V l) {
    V e = exp_below_88(shifted(l, i));
    keep(k, i, e);
    return e;
  };
  for (int i = 0; i < n; ++i) {
    largest[i] = logit(0, i);
    sum[i].start(weight(0, i, largest[i]), x[i], y);
  }
  for (int k = 1; k <= anchors; ++k) {
    const auto& t = motion(k);
    Point<V> to = t.row.at(x[0]);
    for (int i = 0; i < n; ++i) {
      V l = logit(k, i);
      largest[i] = larger(largest[i], l);
      sum[i].add(weight(k, i, l), to);
      to = t.next(to);
    }
  }
}

// `compose` without threshold, from the logits and in one pass over them, of n neighbouring vectors of
// pixels, which share the motions: motion(k) is a SteppedMotion. logit(k, i) gives l_k of vector i, and
// keep(k, i, e) is called with its exponential, the last time with the one that counts.
//
// The softmax subtracts the largest logit m for one reason: that exp neither overflows nor leaves nothing but
// zeros. Where every pixel's m is within +-40 neither happens, and nothing need be subtracted. So that is
// tried first, m found on the way; a second pass, with the true m, follows in the rare case.
template <int n, class V, class Logit, class Motion, class Keep>
INTERNET_HD void compose_logits(int anchors, Logit logit, Motion motion, const V (&x)[n], ScalarOf<V> y,
                                Keep keep, Composition<V> (&f)[n]) {
  WeightedMotions<V> sum[n];
  V largest[n];
  auto as_is = [](V l, int) { return l; };
  sum_motions(anchors, logit, motion, x, y, as_is, keep, sum, largest);
  V farthest = absolute(largest[0]);
  for (int i = 1; i < n; ++i) farthest = larger(farthest, absolute(largest[i]));
  if (!all(farthest <= splat<V>(40))) {
    V m[n];
    for (int i = 0; i < n; ++i) m[i] = largest[i];
    auto below = [&](V l, int i) { return V(l - m[i]); };
    sum_motions(anchors, logit, motion, x, y, below, keep, sum, largest);
  }
  for (int i = 0; i < n; ++i) f[i] = sum[i].mean(sum[i].weight);
}

// From the gradient g = (gx, gy) with respect to the field to that of each logit. With c_k = <g, T_k - F> /
// sum u:
//
//   dL/dl_k = e_k ([u_k > 0] c_k - t sum_j [u_j > 0] c_j).
//
// Without threshold that is w_k <g, T_k - F>. With it, dL/dw_k = c_k s where w_k > t, else 0, and the softmax
// subtracts sum_j w_j dL/dw_j, which is t times the sum of those (the part of w_j above t cancels, because
// sum_j u_j c_j = 0). T_k is reached by g u_k / sum u.
template <bool thresholded, class V>
struct CompositionGradient {
  V per_kept;          // 1 / sum u
  V gx, gy, at_field;  // g and <g, F>, over sum u
  V pull;              // t sum_j [u_j > 0] c_j

  INTERNET_MEMBER CompositionGradient(const Composition<V>& f, V grad_x, V grad_y)
      : per_kept(splat<V>(1) / f.kept),
        gx(grad_x * per_kept),
        gy(grad_y * per_kept),
        at_field(gx * f.x + gy * f.y),
        pull(splat<V>(0)) {}

  // [u > 0] c
  INTERNET_MEMBER V grad_weight(V weight, Point<V> to) const {
    V c = gx * to.x + (gy * to.y - at_field);
    return thresholded ? select(weight <= splat<V>(0), splat<V>(0), c) : c;
  }
  INTERNET_MEMBER V grad_logit(V e, V weight, Point<V> to) const {
    V c = grad_weight(weight, to);
    return thresholded ? e * (c - pull) : e * c;
  }
};

// From the results of `compose`.
template <bool thresholded, class V, class Exponential, class Motion>
INTERNET_HD CompositionGradient<thresholded, V> composition_gradient(const Composition<V>& f, int anchors,
                                                                     Exponential exponential, Motion motion,
                                                                     V x, ScalarOf<V> y,
                                                                     ScalarOf<V> threshold, V gx, V gy) {
  CompositionGradient<thresholded, V> gradient(f, gx, gy);
  if constexpr (thresholded) {
    auto kept = [&](int k) { return kept_weight<true>(exponential(k), f.total, threshold); };
    V sum = gradient.grad_weight(kept(0), {x, splat<V>(y)});
    for (int k = 1; k <= anchors; ++k) sum = sum + gradient.grad_weight(kept(k), motion(k).at(x));
    gradient.pull = sum * threshold;
  }
  return gradient;
}

// emit(k, logit_gradient, weight) is called for k = 0..K, with the weight u_k / sum u.
template <bool thresholded, class V, class Exponential, class Motion, class Emit>
INTERNET_HD void compose_vjp(int anchors, Exponential exponential, Motion motion, V x, ScalarOf<V> y,
                             ScalarOf<V> threshold, V gx, V gy, Emit emit) {
  Composition<V> f = compose<thresholded>(anchors, exponential, motion, x, y, threshold);
  auto gradient = composition_gradient<thresholded>(f, anchors, exponential, motion, x, y, threshold, gx, gy);
  for (int k = 0; k <= anchors; ++k) {
    V e = exponential(k);
    V weight = kept_weight<thresholded>(e, f.total, threshold);
    Point<V> to = k == 0 ? Point<V>{x, splat<V>(y)} : motion(k).at(x);
    emit(k, gradient.grad_logit(e, weight, to), weight * gradient.per_kept);
  }
}

}  // namespace internet::math
