// Bilinear sampling: from a coordinate to two pixels and their weights, along one axis at a time.
//
// A sample at pixel coordinate t lies between pixels i = floor(t) and i + 1, with weights 1 - f and f,
// f = t - i. Pixels outside the image count zero (padding "zeros") or are the nearest inside (padding
// "border", by clamping t first). Inner loops have no masks: indices are clamped into the image, and the
// weight of a pixel outside is zero. A clamped index repeats its neighbour's, so that the zero weight
// never multiplies a pixel that the sample does not read anyway.
#pragma once

#include "value.h"

namespace internet::math {

// Pixel coordinate of the normalised coordinate z on an axis of `size` pixels, and its derivative.
//   align_corners=False: z = (2t + 1)/size - 1;   True: z = 2t/(size - 1) - 1.
template <class S>
INTERNET_HD S pixels_per_unit(S size, bool align_corners) {
  return (align_corners ? size - 1 : size) / 2;
}
template <class V>
INTERNET_HD V unnormalize(V z, ScalarOf<V> size, bool align_corners) {
  using S = ScalarOf<V>;
  S scale = pixels_per_unit<S>(size, align_corners);
  S offset = (size - 1) / 2;  // the image's middle, z = 0, in both conventions
  return z * scale + offset;
}

// Normalised coordinate of pixel t: the inverse of unnormalize. A single pixel sits at 0.
template <class S>
INTERNET_HD S normalized_step(S size, bool align_corners) {
  if (align_corners) return size > 1 ? 2 / (size - 1) : S(0);
  return 2 / size;
}
template <class S>
INTERNET_HD S normalized_start(S size, bool align_corners) {
  if (align_corners) return size > 1 ? S(-1) : S(0);
  return 1 / size - 1;
}

// One axis of a sample: pixel indices (as numbers of the value type, exact far beyond any image side),
// their weights, the derivatives of the weights by t, and whether anything is read at all.
template <class V>
struct Axis {
  V low, high;                // indices, inside [0, size - 1]
  V low_weight, high_weight;  // sum 1 inside; a pixel outside has 0
  V low_slope, high_slope;    // d weight / d t
};

template <class V>
INTERNET_HD V floor_of(V t) {
#if defined(__CUDACC__)
  return floor(t);
#else
  if constexpr (Value<V>::lanes == 1) {
    return std::floor(t);
  } else {
    // |t| is within an image side here, so the conversion is exact.
    using I = typename Value<V>::Integer;
    V truncated = __builtin_convertvector(__builtin_convertvector(t, I), V);
    return select(truncated > t, truncated - 1, truncated);
  }
#endif
}

// `border` clamps; otherwise pixels outside weigh zero. NaN and infinite coordinates are out of the frame:
// zero weights and slopes without border; with it the clamped border pixel (of a NaN: the first) and zero
// slope.
template <class V>
INTERNET_HD Axis<V> axis(V t, ScalarOf<V> size, bool border) {
  using S = ScalarOf<V>;
  const V zero = splat<V>(0), one = splat<V>(1);
  const S last = size - 1;
  // Whether t can be moved a little and the sample moves with it (torch's grid_sample: not at the ends).
  auto free = border ? ((t > zero) & (t < splat<V>(last))) : ((t > splat<V>(-1)) & (t < splat<V>(size)));
  V bounded = at_most(at_least(t, border ? S(0) : S(-1)), border ? last : size);
  V base = floor_of(bounded);
  V fraction = bounded - base;
  V slope = select(free, one, zero);
  Axis<V> a;
  a.low = at_most(at_least(base, S(0)), last);
  a.high = at_most(base + 1, last);
  auto low_inside = (base >= zero) & (base <= splat<V>(last));
  auto high_inside = base < splat<V>(last);
  a.low_weight = select(low_inside, one - fraction, zero);
  a.high_weight = select(high_inside, fraction, zero);
  a.low_slope = select(low_inside, -slope, zero);
  a.high_slope = select(high_inside, slope, zero);
  if (!border) {
    a.low_weight = select(free, a.low_weight, zero);
    a.high_weight = select(free, a.high_weight, zero);
  }
  return a;
}

}  // namespace internet::math
