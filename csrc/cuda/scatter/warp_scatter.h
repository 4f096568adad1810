// Scattering the gradients of a row of output pixels, one a lane of a warp.
//
// Neighbours mostly sample neighbouring pixels, so that the pixels to the east of one sample are those to the
// west of the next. Then a lane hands its two eastern contributions to the next, and there are half as many
// atomics.
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/sampling/bilinear_sample.h"
#include "cuda/scatter/grad_accumulator.h"

namespace internet::cuda {

// Whether this lane merges the eastern contributions of the lane to its left into its own western ones, and
// whether the lane to its right does so with this lane's. All lanes are here.
template <class S>
struct EastMerge {
  bool from_left, into_right;

  __device__ __forceinline__ explicit EastMerge(const BilinearSample<S>& s) {
    const int row = __shfl_up_sync(~0u, s.row, 1), column = __shfl_up_sync(~0u, s.column, 1);
    const int south_of_left = __shfl_up_sync(~0u, int(s.south), 1);
    const bool offered = __shfl_up_sync(~0u, int(s.reads && s.east), 1) != 0;
    const bool neighbours = row == s.row && column + 1 == s.column && south_of_left == int(s.south);
    from_left = offered && s.reads && neighbours && threadIdx.x % warp_size != 0;
    into_right = __shfl_down_sync(~0u, int(from_left), 1) != 0 && threadIdx.x % warp_size != warp_size - 1;
  }
};

// One channel of one pixel to its four sums. All lanes of the warp are here.
template <class S, class Index>
__device__ __forceinline__ void scatter(const GradAccumulator<S>& sums, const BilinearSample<S>& s,
                                        const EastMerge<S>& merge, const math::Corners<Index>& at,
                                        S gradient) {
  math::Corners<S> part = {s.weights.nw * gradient, s.weights.ne * gradient, s.weights.sw * gradient,
                           s.weights.se * gradient};
  const S north = __shfl_up_sync(~0u, part.ne, 1), south = __shfl_up_sync(~0u, part.se, 1);
  if (!s.reads) return;
  sums.add(at.nw, merge.from_left ? part.nw + north : part.nw);
  if (s.south) sums.add(at.sw, merge.from_left ? part.sw + south : part.sw);
  if (!s.east || merge.into_right) return;
  sums.add(at.ne, part.ne);
  if (s.south) sums.add(at.se, part.se);
}

}  // namespace internet::cuda
