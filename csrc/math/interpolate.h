// One bilinear interpolation to any size, along one axis: torch's F.interpolate(mode="bilinear"), without
// antialiasing. Fine pixel X of `fine_size` lies at the coarse coordinate
//
//   align_corners=False: t = (X + 1/2) size / fine_size - 1/2, and 0 below that;
//   align_corners=True:  t = X (size - 1) / (fine_size - 1), and 0 if there is one fine pixel,
//
// between coarse pixels floor(t) and floor(t) + 1; past the last pixel, that one is repeated. Both are
// fractions of integers, and computed as such: floor and remainder are exact, so that no rounding decides
// which pixels are read.
#pragma once

#include <cstdint>

#include "value.h"

namespace internet::math {

// The coarse pixels on either side, and how far the fine one lies towards the second. If that is 0, the
// second is not read, and is the first again.
template <class S, class Index>
struct InterpolationTaps {
  Index low, high;
  S fraction;
};

// Index is signed and must hold 2 (fine_size + 1) (size + 1).
template <class Index = int64_t>
struct Interpolation {
  Index size, fine_size;
  bool align_corners;

  template <class S>
  INTERNET_MEMBER InterpolationTaps<S, Index> taps(Index fine) const {
    const Index t = coordinate(fine), low = t / unit(), rest = t - low * unit();
    return {low, rest > 0 ? low + 1 : low, S(rest) / S(unit())};
  }

  // The adjoint, in gather form. Coarse pixel p contributes to the fine pixels from first_reader(p) to before
  // first_beyond(p), and to no others.
  INTERNET_MEMBER Index first_reader(Index p) const { return first_at(p - 1); }
  INTERNET_MEMBER Index first_beyond(Index p) const { return first_at(p + 1); }
  template <class S>
  INTERNET_MEMBER S weight(Index p, Index fine) const {
    const Index away = coordinate(fine) - p * unit(), distance = away < 0 ? -away : away;
    return distance < unit() ? S(unit() - distance) / S(unit()) : S(0);
  }

 private:
  // A coarse pixel's width, and the position of a fine pixel, in the same unit.
  INTERNET_MEMBER Index unit() const {
    return align_corners ? (fine_size > 1 ? fine_size - 1 : 1) : 2 * fine_size;
  }
  INTERNET_MEMBER Index coordinate(Index fine) const {
    const Index t = align_corners ? fine * (size - 1) : (2 * fine + 1) * size - fine_size;
    const Index last = (size - 1) * unit();
    return t < 0 ? 0 : t < last ? t : last;
  }
  // The first fine pixel at or after coarse pixel p.
  INTERNET_MEMBER Index first_at(Index p) const {
    if (p <= 0) return 0;
    if (p >= size) return fine_size;
    const Index start = align_corners ? p * unit() : (2 * p + 1) * fine_size - size;
    const Index step = align_corners ? size - 1 : 2 * size;
    return (start + step - 1) / step;
  }
};

// The value between two pixels. A pixel of weight 0 is not read, so an infinite one does not turn its
// neighbours into NaN.
template <class S, class V>
INTERNET_HD V interpolate(V low, V high, S fraction) {
  return fraction == 0 ? low : low * (1 - fraction) + high * fraction;
}

}  // namespace internet::math
