// Progressive 2x bilinear upsampling of a motion field and its confidence.
//
// One step (align_corners=False, replicated border) makes two pixels of each, with weights (1/4, 3/4, 0) and
// (0, 3/4, 1/4) on the pixel before, the pixel itself and the one after: Chaikin's corner cutting. i steps
// are not one interpolation by 2^i, but they still read only three neighbours, and their weights are known in
// closed form. With r = 2^i, the weights of fine pixel X = p r + s (0 <= s < r) on the coarse pixels are
//
//   p - 1: (r-1-s)(r-s) / (2 r^2)        p + 1: s(s+1) / (2 r^2)        p: 1 minus these two.
//
// (Proof by induction: r = 1 gives 0, 1, 0; and the step from r to 2r takes 3/4 of a pixel and 1/4 of its
// neighbour. In the limit it is the quadratic B-spline.) So no intermediate level is ever stored. Replicating
// the border once, on the coarse map, is equivalent to replicating it in every step.
#pragma once

#include <cstdint>

#include "value.h"

namespace internet::math {

// Weights of the coarse pixel before, the pixel itself and the one after.
template <class S>
struct UpsampleTaps {
  S before, here, after;
};

// For phase s = X mod r. Exact in float as long as r <= 4096.
template <class S>
INTERNET_HD UpsampleTaps<S> upsample_taps(int64_t ratio, int64_t phase) {
  const S r = S(ratio), s = S(phase);
  const S scale = S(0.5) / (r * r);
  UpsampleTaps<S> taps;
  taps.before = (r - 1 - s) * (r - s) * scale;
  taps.after = s * (s + 1) * scale;
  taps.here = 1 - taps.before - taps.after;
  return taps;
}

// The fine value. A pixel of weight 0 is not read, so an infinite one does not turn its neighbours into NaN.
template <class S, class V>
INTERNET_HD V upsample(UpsampleTaps<S> taps, V before, V here, V after) {
  V sum = taps.here * here;
  if (taps.before != 0) sum += taps.before * before;
  if (taps.after != 0) sum += taps.after * after;
  return sum;
}

// The adjoint, in gather form: the weight of coarse pixel p of `size` in fine pixel X, including the repeated
// border. Nonzero only for (p-1) r <= X < (p+2) r.
template <class S>
INTERNET_HD S upsample_weight(int64_t ratio, int64_t size, int64_t p, int64_t fine) {
  const int64_t q = fine / ratio;
  const UpsampleTaps<S> taps = upsample_taps<S>(ratio, fine - q * ratio);
  S weight = 0;
  if (p == (q > 0 ? q - 1 : 0)) weight += taps.before;
  if (p == q) weight += taps.here;
  if (p == (q + 1 < size ? q + 1 : size - 1)) weight += taps.after;
  return weight;
}

// The same, phase by phase: the weights of coarse pixel p of `size` in the fine pixels (p-1) r + s, p r + s
// and (p+1) r + s, where `taps` are those of phase s.
template <class S>
INTERNET_HD UpsampleTaps<S> fold_taps(UpsampleTaps<S> taps, int64_t p, int64_t size) {
  UpsampleTaps<S> fold{0, taps.here, 0};
  (p > 0 ? fold.before : fold.here) += p > 0 ? taps.after : taps.before;
  (p + 1 < size ? fold.after : fold.here) += p + 1 < size ? taps.before : taps.after;
  return fold;
}

}  // namespace internet::math
