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

// A bilinear sample of the four corners (low or high along y, then along x) and its derivatives by the
// coordinate. A pixel P may hold several channels: the weights are the same for all of them.
template <class P>
struct Sample {
  P value, slope_x, slope_y;
};
template <class P, class S>
INTERNET_HD Sample<P> sample_with_slopes(P low_low, P low_high, P high_low, P high_high, const Axis<S>& x,
                                         const Axis<S>& y) {
  P low = low_low * x.low_weight + low_high * x.high_weight;
  P high = high_low * x.low_weight + high_high * x.high_weight;
  P low_x = low_low * x.low_slope + low_high * x.high_slope;
  P high_x = high_low * x.low_slope + high_high * x.high_slope;
  return {low * y.low_weight + high * y.high_weight, low_x * y.low_weight + high_x * y.high_weight,
          low * y.low_slope + high * y.high_slope};
}
template <class P, class S>
INTERNET_HD P sample(P low_low, P low_high, P high_low, P high_high, const Axis<S>& x, const Axis<S>& y) {
  P low = low_low * x.low_weight + low_high * x.high_weight;
  P high = high_low * x.low_weight + high_high * x.high_weight;
  return low * y.low_weight + high * y.high_weight;
}

// Whether a sample reads the image, along one axis; both must. What reads nothing counts as the value 0
// ("zeros") or does not count ("valid"). A NaN fails every comparison. With "border" everything reads.
template <class V>
INTERNET_HD auto inside_frame(V t, ScalarOf<V> size, bool valid) {
  if (valid) return (t >= splat<V>(0)) & (t <= splat<V>(size - 1));
  return (t > splat<V>(-1)) & (t < splat<V>(size));
}

}  // namespace internet::math
