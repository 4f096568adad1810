// Eq. 5 at one pixel (or one vector of pixels of a row), in N axes: a convex mixture of K affine motions and
// the background's.
//
//   e_k = exp(l_k - m),  s = sum e,  u_k = max(e_k - t s, 0),  F = sum u_k T_k(z) / sum u_k
//
// is Eq. 5 without a division per anchor, for any m: w_k = e_k / s are the softmax weights, and max(w_k - t,
// 0) scaled to sum 1 is u_k / sum u. Motion 0 is the background's.
//
// `exponential(k)` returns e_k for k = 0..K, `motion(k)` the RowMotion of anchor k = 1..K, and `still` is
// T_0(z).
#pragma once

#include "anchor_affine.h"
#include "exponential.h"

namespace internet::math {

template <class V, int N>
struct Composition {
  Point<V, N> field;
  V total;  // s
  V kept;   // sum u
};

// The sums over the anchors, accumulated one by one.
template <class V, int N>
struct WeightedMotions {
  V weight;
  Point<V, N> sum;

  INTERNET_MEMBER void start(V w, const Point<V, N>& to) {
    weight = w;
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) sum.axis[i] = w * to.axis[i];
  }
  INTERNET_MEMBER void add(V w, const Point<V, N>& to) {
    weight = weight + w;
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) sum.axis[i] = sum.axis[i] + w * to.axis[i];
  }
  INTERNET_MEMBER Composition<V, N> mean(V total) const {
    const V per_weight = splat<V>(1) / weight;
    Composition<V, N> f{{}, total, weight};
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) f.field.axis[i] = sum.axis[i] * per_weight;
    return f;
  }
};

template <bool thresholded, class V>
INTERNET_HD V kept_weight(V e, V total, ScalarOf<V> threshold) {
  if constexpr (!thresholded) return e;
  const V kept = e - total * threshold;
  return select(kept <= splat<V>(0), splat<V>(0), kept);  // NaN stays NaN
}

template <bool thresholded, class V, int N, class Exponential, class Motion>
INTERNET_HD Composition<V, N> compose(int anchors, Exponential exponential, Motion motion,
                                      const Point<V, N>& still, V x, ScalarOf<V> threshold) {
  const V first = exponential(0);
  V total = first;
  if constexpr (thresholded) {
    for (int k = 1; k <= anchors; ++k) total = total + exponential(k);
  }
  WeightedMotions<V, N> sum;
  sum.start(kept_weight<thresholded>(first, total, threshold), still);
  for (int k = 1; k <= anchors; ++k) {
    sum.add(kept_weight<thresholded>(exponential(k), total, threshold), motion(k).at(x));
  }
  return sum.mean(thresholded ? total : sum.weight);
}

// A RowMotion, and its change from one vector of pixels to the next in the row.
template <class S, int N>
struct SteppedMotion {
  RowMotion<S, N> row;
  S step[N];

  template <class V>
  INTERNET_MEMBER Point<V, N> next(Point<V, N> to) const {
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) to.axis[i] = to.axis[i] + step[i];
    return to;
  }
};
template <class S, int N>
struct SteppedTranslation {
  Translation<S, N> row;
  S x_step;

  INTERNET_MEMBER Point<S, N> next(Point<S, N> to) const {
    to.axis[0] = to.axis[0] + x_step;
    return to;
  }
};
template <class S, int N>
INTERNET_HD SteppedTranslation<S, N> stepped(const Translation<S, N>& row, S x_step) {
  return {row, x_step};
}
template <class S, int N>
INTERNET_HD SteppedMotion<S, N> stepped(const RowMotion<S, N>& row, S x_step) {
  SteppedMotion<S, N> motion{row, {}};
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) motion.step[i] = row.slope[i] * x_step;
  return motion;
}

// One pass over the logits of `count` neighbouring vectors of pixels: the largest logit of every pixel and,
// without threshold, the sums for `compose`. `shifted(l, i)` returns the argument of the exponential.
template <bool thresholded, int count, class V, int N, class Logit, class Motion, class Shifted, class Keep>
INTERNET_HD void sum_motions(int anchors, Logit logit, Motion motion, const Point<V, N> (&still)[count], V x,
                             Shifted shifted, Keep keep, WeightedMotions<V, N> (&sum)[count],
                             V (&largest)[count]) {
  auto weight = [&](int k, int i, V l) {
    V e = exp_below_88(shifted(l, i));
    keep(k, i, e);
    return e;
  };
  for (int i = 0; i < count; ++i) {
    largest[i] = logit(0, i);
    const V w = weight(0, i, largest[i]);
    if constexpr (!thresholded) sum[i].start(w, still[i]);
  }
  for (int k = 1; k <= anchors; ++k) {
    const auto& t = motion(k);
    Point<V, N> to = t.row.at(x);
    for (int i = 0; i < count; ++i) {
      V l = logit(k, i);
      largest[i] = larger(largest[i], l);
      const V w = weight(k, i, l);
      if constexpr (!thresholded) sum[i].add(w, to);
      to = t.next(to);
    }
  }
}

// `compose` from the logits, in one pass over them, for `count` neighbouring vectors of pixels, which share
// the motions: motion(k) is a SteppedMotion, and x is that of the first vector. logit(k, i) returns l_k of
// vector i, and keep(k, i, e) receives its exponential; if it is called twice, the last call counts. With a
// threshold these exponentials are the only result, because the part of a weight that is kept depends on all
// of them; `compose` then computes f.
//
// The softmax subtracts the largest logit m only to keep exp from overflowing, and from giving nothing but
// zeros. If every pixel's m is within +-40 neither happens, and nothing needs to be subtracted. So this is
// tried first, while m is determined; in the rare other case a second pass follows, with the true m.
template <bool thresholded, int count, class V, int N, class Logit, class Motion, class Keep>
INTERNET_HD void compose_logits(int anchors, Logit logit, Motion motion, const Point<V, N> (&still)[count],
                                V x, Keep keep, Composition<V, N> (&f)[count]) {
  WeightedMotions<V, N> sum[count];
  V largest[count];
  auto as_is = [](V l, int) { return l; };
  sum_motions<thresholded>(anchors, logit, motion, still, x, as_is, keep, sum, largest);
  V farthest = absolute(largest[0]);
  for (int i = 1; i < count; ++i) farthest = larger(farthest, absolute(largest[i]));
  if (!all(farthest <= splat<V>(40))) {
    V m[count];
    for (int i = 0; i < count; ++i) m[i] = largest[i];
    auto below = [&](V l, int i) { return V(l - m[i]); };
    sum_motions<thresholded>(anchors, logit, motion, still, x, below, keep, sum, largest);
  }
  if constexpr (!thresholded) {
    for (int i = 0; i < count; ++i) f[i] = sum[i].mean(sum[i].weight);
  }
}

// From the gradient g with respect to the field to that of each logit. With c_k = <g, T_k - F> / sum u:
//
//   dL/dl_k = e_k ([u_k > 0] c_k - t sum_j [u_j > 0] c_j).
//
// Without threshold that is w_k <g, T_k - F>. With it, dL/dw_k = c_k s if w_k > t, else 0, and the softmax
// subtracts sum_j w_j dL/dw_j, which is t times the sum of these (the part of w_j above t cancels, because
// sum_j u_j c_j = 0). The gradient with respect to T_k is g u_k / sum u.
template <bool thresholded, class V, int N>
struct CompositionGradient {
  V per_kept;     // 1 / sum u
  Point<V, N> g;  // divided by sum u
  V at_field;     // <g, F>, divided by sum u
  V pull;         // t sum_j [u_j > 0] c_j

  INTERNET_MEMBER CompositionGradient(const Composition<V, N>& f, const Point<V, N>& grad)
      : per_kept(splat<V>(1) / f.kept), pull(splat<V>(0)) {
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) g.axis[i] = grad.axis[i] * per_kept;
    at_field = g.axis[0] * f.field.axis[0];
    INTERNET_UNROLL
    for (int i = 1; i < N; ++i) at_field = at_field + g.axis[i] * f.field.axis[i];
  }

  // [u > 0] c
  INTERNET_MEMBER V grad_weight(V weight, const Point<V, N>& to) const {
    V c = g.axis[N - 1] * to.axis[N - 1] - at_field;
    INTERNET_UNROLL
    for (int i = N - 2; i >= 0; --i) c = g.axis[i] * to.axis[i] + c;
    return thresholded ? select(weight <= splat<V>(0), splat<V>(0), c) : c;
  }
  INTERNET_MEMBER V grad_logit(V e, V weight, const Point<V, N>& to) const {
    V c = grad_weight(weight, to);
    return thresholded ? e * (c - pull) : e * c;
  }
  // The gradient with respect to T_k.
  INTERNET_MEMBER Point<V, N> grad_motion(V weight) const {
    Point<V, N> grad;
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) grad.axis[i] = weight * g.axis[i];
    return grad;
  }
};

// From the results of `compose`.
template <bool thresholded, class V, int N, class Exponential, class Motion>
INTERNET_HD CompositionGradient<thresholded, V, N> composition_gradient(
    const Composition<V, N>& f, int anchors, Exponential exponential, Motion motion, const Point<V, N>& still,
    V x, ScalarOf<V> threshold, const Point<V, N>& grad) {
  CompositionGradient<thresholded, V, N> gradient(f, grad);
  if constexpr (thresholded) {
    auto kept = [&](int k) { return kept_weight<true>(exponential(k), f.total, threshold); };
    V sum = gradient.grad_weight(kept(0), still);
    for (int k = 1; k <= anchors; ++k) sum = sum + gradient.grad_weight(kept(k), motion(k).at(x));
    gradient.pull = sum * threshold;
  }
  return gradient;
}

// Calls emit(k, gradient) with that of each logit, k = 0..K.
template <bool thresholded, class V, int N, class Exponential, class Motion, class Emit>
INTERNET_HD void each_logit_gradient(const CompositionGradient<thresholded, V, N>& gradient,
                                     const Composition<V, N>& f, int anchors, Exponential exponential,
                                     Motion motion, const Point<V, N>& still, V x, ScalarOf<V> threshold,
                                     Emit emit) {
  auto of = [&](int k, const Point<V, N>& to) {
    const V e = exponential(k);
    emit(k, gradient.grad_logit(e, kept_weight<thresholded>(e, f.total, threshold), to));
  };
  of(0, still);
  for (int k = 1; k <= anchors; ++k) of(k, motion(k).at(x));
}

}  // namespace internet::math
