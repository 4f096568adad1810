// The back-warped residual and its norm.
//
//   r = (bilinear(output; x + u, y + v) - target) * m,   loss = penalty(r)
//
// For one channel of one pixel. The loops, the sums over pixels and the scatter of the sample's gradient to
// its four corners belong to each backend.
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

// d penalty / d r. At the kink of |r| at 0 the subgradient is 0; NaN stays NaN.
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

// With d = sample - target and r = d * m: the gradients of g * penalty(r) with respect to the sample (the
// target's is its negative) and to the mask.
template <class V>
struct ResidualGradient {
  V sample, mask;
};
template <Penalty P, class V>
INTERNET_HD ResidualGradient<V> residual_gradient(V difference, V mask, V grad) {
  V slope = grad * penalty_slope<P>(difference * mask);
  return {slope * mask, slope * difference};
}

}  // namespace internet::math
