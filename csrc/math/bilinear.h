// All of linear sampling, on two axes or more: from a coordinate to pixels and fractions, from pixels to a
// sample, and the gradients. Images have two axes (bilinear), volumes a third (trilinear).
//
// A sample at pixel coordinate t lies between pixels i = floor(t) and i + 1, at the fraction f = t - i of the
// way. Pixels outside the image count as zero (padding "zeros") or are replaced by the nearest one inside
// (padding "border", by clamping t first). NaN and infinite coordinates are out of the frame.
//
// From there, there are two ways to continue along each axis:
//
// - Position, for images with a frame of zeros around them: every sample lies between two pixels that can be
//   read, and its weights are 1 - f and f everywhere. A few channels are interpolated along y and then along
//   x.
// - Axis, for images in place: indices are clamped into the image, and the weight of a pixel outside is zero.
//   A clamped index repeats its neighbour's, so that the zero weight never multiplies a pixel that the sample
//   does not read anyway. Many channels share the products of two weights.
#pragma once

#include "value.h"

namespace internet::math {

// The pixel coordinate of the normalised coordinate z on an axis of `size` pixels, and its derivative.
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

// The normalised coordinate of pixel t: the inverse of unnormalize. A single pixel lies at 0.
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

// A sample between pixels base and base + 1, at this fraction of the way. With "zeros" the base is -1 .. size
// - 1: pixels one step outside the image are read, and are zero. A sample farther out, or at NaN, is moved to
// the edge; inside_frame tells whether it counts.
template <class V>
struct Position {
  V base, fraction;
};
template <class V>
INTERNET_HD Position<V> position(V t, ScalarOf<V> size, bool border) {
  using S = ScalarOf<V>;
  const V bounded = at_most(at_least(t, border ? S(0) : S(-1)), border ? size - 1 : size);
  const V base = at_most(floor_of(bounded), size - 1);
  return {base, bounded - base};
}

// Whether the sample moves with t: with "border", not where t was clamped (nor at the ends, as in torch).
template <class V>
INTERNET_HD auto moves_within(V t, ScalarOf<V> size) {
  return (t > splat<V>(0)) & (t < splat<V>(size - 1));
}

// Whether a sample reads the image, along one axis; it must do so along all of them. A sample that reads
// nothing has the value 0 ("zeros") or does not count ("valid"). A NaN fails every comparison. With "border"
// every sample reads.
template <class V>
INTERNET_HD auto inside_frame(V t, ScalarOf<V> size, bool valid) {
  if (valid) return (t >= splat<V>(0)) & (t <= splat<V>(size - 1));
  return (t > splat<V>(-1)) & (t < splat<V>(size));
}

// Pixel indices (as numbers of the value type, exact far beyond any image side), their weights, and the
// derivatives of the weights with respect to t. Out of the frame: without border, zero weights and slopes;
// with border, the clamped border pixel (for a NaN, the first) and zero slopes.
template <class V>
struct Axis {
  V low, high;                // indices, inside [0, size - 1]
  V low_weight, high_weight;  // sum 1 inside; a pixel outside has 0
  V low_slope, high_slope;    // d weight / d t
};
template <class V>
INTERNET_HD Axis<V> axis(V t, ScalarOf<V> size, bool border) {
  const V zero = splat<V>(0), one = splat<V>(1);
  const ScalarOf<V> last = size - 1;
  const auto [base, fraction] = position(t, size, border);
  const auto moves = border ? moves_within(t, size) : inside_frame(t, size, false);
  const auto low_inside = base >= zero, high_inside = base < splat<V>(last);
  const V slope = select(moves, one, zero);
  Axis<V> a;
  a.low = at_least(base, 0);
  a.high = at_most(base + 1, last);
  a.low_weight = select(low_inside, one - fraction, zero);
  a.high_weight = select(high_inside, fraction, zero);
  a.low_slope = select(low_inside, -slope, zero);
  a.high_slope = select(high_inside, slope, zero);
  if (!border) {
    a.low_weight = select(moves, a.low_weight, zero);
    a.high_weight = select(moves, a.high_weight, zero);
  }
  return a;
}

// Whether the sample reads anything. If it does not, the output is 0 whatever the pixels hold, and kernels
// must not multiply them, because they could be infinite.
template <class V>
INTERNET_HD auto reads_image(const Axis<V>& x) {
  return x.low_weight + x.high_weight > splat<V>(0);
}
template <class V>
INTERNET_HD auto reads_image(const Axis<V>& x, const Axis<V>& y) {
  return reads_image(x) & reads_image(y);
}
template <int N, class V>
INTERNET_HD auto reads_image(const Axis<V>* axes) {
  if constexpr (N == 1) {
    return reads_image(axes[0]);
  } else {
    return reads_image<N - 1>(axes) & reads_image(axes[N - 1]);
  }
}

// One value for each of the 2^N pixels around a sample on N axes, which functions take as an array, x first.
// On two axes they have names: north is the lower row index, west the lower column index. Each further axis
// has all of them twice, at its lower and at its higher index: every formula below is that for one axis less,
// applied twice, followed by linear interpolation along the last axis.
template <class V, int N = 2>
struct Corners {
  Corners<V, N - 1> low, high;
};
template <class V>
struct Corners<V, 2> {
  V nw, ne, sw, se;
};

// All of them times a factor.
template <class V>
INTERNET_HD Corners<V> scaled(const Corners<V>& c, V factor) {
  return {c.nw * factor, c.ne * factor, c.sw * factor, c.se * factor};
}
template <class V, int N>
INTERNET_HD Corners<V, N> scaled(const Corners<V, N>& c, V factor) {
  return {scaled(c.low, factor), scaled(c.high, factor)};
}

template <class V>
INTERNET_HD Corners<V> corner_weights(const Axis<V>& x, const Axis<V>& y) {
  return {y.low_weight * x.low_weight, y.low_weight * x.high_weight, y.high_weight * x.low_weight,
          y.high_weight * x.high_weight};
}
template <int N, class V>
INTERNET_HD Corners<V, N> corner_weights(const Axis<V>* axes) {
  if constexpr (N == 2) {
    return corner_weights(axes[0], axes[1]);
  } else {
    const Corners<V, N - 1> weights = corner_weights<N - 1>(axes);
    return {scaled(weights, axes[N - 1].low_weight), scaled(weights, axes[N - 1].high_weight)};
  }
}

template <class V>
INTERNET_HD V weighted_sum(const Corners<V>& weights, const Corners<V>& values) {
  return weights.nw * values.nw + weights.ne * values.ne + weights.sw * values.sw + weights.se * values.se;
}
template <class V, int N>
INTERNET_HD V weighted_sum(const Corners<V, N>& weights, const Corners<V, N>& values) {
  return weighted_sum(weights.low, values.low) + weighted_sum(weights.high, values.high);
}

// sums += factor * values.
template <class V>
INTERNET_HD void add_scaled(Corners<V>& sums, V factor, const Corners<V>& values) {
  sums.nw += factor * values.nw;
  sums.ne += factor * values.ne;
  sums.sw += factor * values.sw;
  sums.se += factor * values.se;
}
template <class V, int N>
INTERNET_HD void add_scaled(Corners<V, N>& sums, V factor, const Corners<V, N>& values) {
  add_scaled(sums.low, factor, values.low);
  add_scaled(sums.high, factor, values.high);
}

// A sample from its pixels, which may hold several channels each, and its derivatives.
template <class P, class S>
INTERNET_HD P blend(const Corners<P>& c, const Axis<S>& x, const Axis<S>& y) {
  return (c.nw * x.low_weight + c.ne * x.high_weight) * y.low_weight +
         (c.sw * x.low_weight + c.se * x.high_weight) * y.high_weight;
}
template <class P, int N, class S>
INTERNET_HD P blend(const Corners<P, N>& c, const Axis<S>* axes) {
  if constexpr (N == 2) {
    return blend(c, axes[0], axes[1]);
  } else {
    return blend(c.low, axes) * axes[N - 1].low_weight + blend(c.high, axes) * axes[N - 1].high_weight;
  }
}
template <class P>
struct BlendSlopes {
  P x, y;
};
template <class P, class S>
INTERNET_HD BlendSlopes<P> blend_slopes(const Corners<P>& c, const Axis<S>& x, const Axis<S>& y) {
  const P west = c.nw * y.low_weight + c.sw * y.high_weight,
          east = c.ne * y.low_weight + c.se * y.high_weight;
  const P north = c.nw * x.low_weight + c.ne * x.high_weight,
          south = c.sw * x.low_weight + c.se * x.high_weight;
  return {west * x.low_slope + east * x.high_slope, north * y.low_slope + south * y.high_slope};
}
template <class P, int N, class S>
INTERNET_HD void blend_slopes(const Corners<P, N>& c, const Axis<S>* axes, P* slopes) {
  if constexpr (N == 2) {
    const BlendSlopes<P> plane = blend_slopes(c, axes[0], axes[1]);
    slopes[0] = plane.x;
    slopes[1] = plane.y;
  } else {
    const Axis<S>& last = axes[N - 1];
    P low[N - 1], high[N - 1];
    blend_slopes(c.low, axes, low);
    blend_slopes(c.high, axes, high);
    for (int i = 0; i < N - 1; ++i) slopes[i] = low[i] * last.low_weight + high[i] * last.high_weight;
    slopes[N - 1] = blend(c.low, axes) * last.low_slope + blend(c.high, axes) * last.high_slope;
  }
}

// From a Position: interpolation along y and then along x, with the derivatives with respect to the
// coordinates. A pixel P may hold several channels and, in the first step, both columns, which have the same
// fraction.
template <class P>
struct Column {
  P level, step;  // between top and bottom, and bottom - top
};
template <class P, class S>
INTERNET_HD Column<P> interpolate_down(P top, P bottom, S fraction_y) {
  const P step = bottom - top;
  return {top + step * fraction_y, step};
}
template <class P>
struct Sample {
  P value, slope_x, slope_y;
};
template <class P, class S>
INTERNET_HD Sample<P> interpolate_across(const Column<P>& left, const Column<P>& right, S fraction_x) {
  const P slope_x = right.level - left.level;
  return {left.level + slope_x * fraction_x, slope_x, left.step + (right.step - left.step) * fraction_x};
}

// The adjoint: the parts of a sample's gradient for the two sides that it was interpolated from.
template <class P>
struct Shares {
  P low, high;
};
template <class P, class S>
INTERNET_HD Shares<P> share(P gradient, S fraction) {
  const P high = gradient * fraction;
  return {gradient - high, high};
}

}  // namespace internet::math
