// The back-warped residual and its norm.
//
//   r = (bilinear(output; x + u, y + v) - target) * m,   loss = penalty(r)
//
// One channel of one pixel at a time; the loops, the sums over pixels and the scatter of the sample's
// gradient to its four corners are each backend's own.
#pragma once

#include "bilinear.h"
#include "value.h"

namespace internet::math {

enum class Penalty : int { l1, l2, charbonnier };
enum class Padding : int { border, zeros, valid };

// penalty(r): |r|, r^2, or the Charbonnier sqrt(r^2 + eps^2), a differentiable |r|.
constexpr double charbonnier_epsilon = 1e-3;

template <Penalty P, class V>
INTERNET_HD V penalty(V r) {
  using S = ScalarOf<V>;
  if constexpr (P == Penalty::l1) return absolute(r);
  if constexpr (P == Penalty::l2) return r * r;
  if constexpr (P == Penalty::charbonnier) {
    return square_root<V>(r * r + S(charbonnier_epsilon * charbonnier_epsilon));
  }
}

// d penalty / d r. The kink of |r| at 0 takes the subgradient 0; a NaN stays a NaN.
template <Penalty P, class V>
INTERNET_HD V penalty_slope(V r) {
  using S = ScalarOf<V>;
  if constexpr (P == Penalty::l1) {
    const V zero = splat<V>(0), one = splat<V>(1);
    V positive = select(r > zero, one, r);  // 0 and NaN pass
    return select(r < zero, -one, positive);
  }
  if constexpr (P == Penalty::l2) return 2 * r;
  if constexpr (P == Penalty::charbonnier) {
    return r / square_root<V>(r * r + S(charbonnier_epsilon * charbonnier_epsilon));
  }
}

// With d = sample - target and r = d * m: the gradients of g * penalty(r) by the sample (the target's is
// its negative) and by the mask.
template <class V>
struct ResidualGradient {
  V sample, mask;
};
template <Penalty P, class V>
INTERNET_HD ResidualGradient<V> residual_gradient(V difference, V mask, V grad) {
  V slope = grad * penalty_slope<P>(difference * mask);
  return {slope * mask, slope * difference};
}

// Where a sample lies along one axis: between pixels base and base + 1, at this fraction of the way.
//
// Here pixels outside of the image are zero and may be read one step beyond it (base is -1 .. size - 1):
// the four weights are then those of the two fractions everywhere, and no corner needs its own. A sample
// farther out, or at NaN, is brought to the edge; see `inside_frame` for whether it counts.
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

// Whether a sample reads the image, along one axis; both must. What reads nothing counts as the value 0
// ("zeros") or does not count ("valid"). A NaN fails every comparison. With "border" everything reads.
template <class V>
INTERNET_HD auto inside_frame(V t, ScalarOf<V> size, bool valid) {
  if (valid) return (t >= splat<V>(0)) & (t <= splat<V>(size - 1));
  return (t > splat<V>(-1)) & (t < splat<V>(size));
}

// Bilinear interpolation, down the columns and then across, with the derivatives by the coordinate. A pixel
// P may hold several channels, and in the first step both columns: the fraction is the same.
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

// The adjoint: what the gradient of a sample gives to one side of the pair it was interpolated from.
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
