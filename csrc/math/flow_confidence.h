// Where optical flow is reliable (Sundaram, Brox and Keutzer, ECCV 2010): two tests for one pixel.
//
// A comparison with NaN is false, so a pixel where any value is NaN is not reliable; nor is an infinite flow.
#pragma once

#include "value.h"

namespace internet::math {

template <class V>
struct FlowVector {
  V x, y;
};

// The allowed mismatch and the allowed steepness: a scale and an offset each, a and b, c and d below.
template <class S>
struct FlowBounds {
  S consistency_scale, consistency_offset, boundary_scale, boundary_offset;

  template <class T>
  INTERNET_MEMBER FlowBounds<T> as() const {
    return {T(consistency_scale), T(consistency_offset), T(boundary_scale), T(boundary_offset)};
  }
};
template <class V>
INTERNET_HD V squared_length(FlowVector<V> w) {
  return w.x * w.x + w.y * w.y;
}

// Whether forward and backward flow cancel: |w + w'|^2 <= a (|w|^2 + |w'|^2) + b, with w' the backward flow
// at the end of w. They do not where the pixel is occluded, nor where the mismatch m is infinite: m - m is
// then NaN.
template <class V>
INTERNET_HD auto flows_cancel(FlowVector<V> w, FlowVector<V> returned,
                              const FlowBounds<ScalarOf<V>>& bounds) {
  const ScalarOf<V> a = bounds.consistency_scale, b = bounds.consistency_offset;
  const V mismatch = squared_length(FlowVector<V>{w.x + returned.x, w.y + returned.y});
  const V bound = a * (squared_length(w) + squared_length(returned)) + b;
  return (mismatch <= bound) & (mismatch - mismatch == splat<V>(0));
}

// Whether the pixel is not on a motion boundary: |grad u|^2 + |grad v|^2 <= c |w|^2 + d, with forward
// differences to the pixels on the right and below.
template <class V>
INTERNET_HD auto flow_is_smooth(FlowVector<V> w, FlowVector<V> right, FlowVector<V> below,
                                const FlowBounds<ScalarOf<V>>& bounds) {
  const ScalarOf<V> c = bounds.boundary_scale, d = bounds.boundary_offset;
  const V along_x = squared_length(FlowVector<V>{right.x - w.x, right.y - w.y});
  const V along_y = squared_length(FlowVector<V>{below.x - w.x, below.y - w.y});
  return along_x + along_y <= c * squared_length(w) + d;
}

}  // namespace internet::math
