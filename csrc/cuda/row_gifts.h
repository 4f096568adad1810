// What the lanes of a warp give to the sums of an image's gradient, when they are neighbours in a row of
// output pixels.
//
// They mostly sample neighbouring pixels, so that the pixels to the east of one sample are those to the west
// of the next. Then a lane hands on what it has for them, and there are half as many atomics.
#pragma once

#include "bilinear_sample.h"
#include "gradient_adder.h"
#include "launch.h"

namespace internet::cuda {

// Whether this lane takes from the one to its left, and gives to the one to its right. All lanes are here.
template <class S>
struct HandingOn {
  bool takes, gives;

  __device__ __forceinline__ explicit HandingOn(const BilinearSample<S>& s) {
    const int row = __shfl_up_sync(~0u, s.row, 1), column = __shfl_up_sync(~0u, s.column, 1);
    const int south_of_left = __shfl_up_sync(~0u, int(s.south), 1);
    const bool offers = __shfl_up_sync(~0u, int(s.reads && s.east), 1) != 0;
    const bool neighbours = row == s.row && column + 1 == s.column && south_of_left == int(s.south);
    takes = offers && s.reads && neighbours && threadIdx.x % warp_size != 0;
    gives = __shfl_down_sync(~0u, int(takes), 1) != 0 && threadIdx.x % warp_size != warp_size - 1;
  }
};

// One channel of one pixel to its four sums. All lanes of the warp are here.
template <class S>
__device__ __forceinline__ void give(const GradientAdder<S>& adder, const BilinearSample<S>& s,
                                     const HandingOn<S>& hand, const math::Corners<int64_t>& at, S gradient) {
  math::Corners<S> gift = {s.weights.nw * gradient, s.weights.ne * gradient, s.weights.sw * gradient,
                           s.weights.se * gradient};
  const S north = __shfl_up_sync(~0u, gift.ne, 1), south = __shfl_up_sync(~0u, gift.se, 1);
  if (!s.reads) return;
  adder.add(at.nw, hand.takes ? gift.nw + north : gift.nw);
  if (s.south) adder.add(at.sw, hand.takes ? gift.sw + south : gift.sw);
  if (!s.east || hand.gives) return;
  adder.add(at.ne, gift.ne);
  if (s.south) adder.add(at.se, gift.se);
}

}  // namespace internet::cuda
