// Scattering the gradients of a row of output voxels, one for each lane of a warp.
//
// Neighbours usually sample neighbouring pixels, so that the eastern pixels of one sample are the western
// pixels of the next. Then a lane hands its eastern contributions to the next lane, which halves the number
// of atomics.
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/sampling/trilinear_sample.h"
#include "cuda/scatter/grad_accumulator.h"

namespace internet::cuda {

// Whether this lane merges the eastern contributions of the lane to its left into its own western ones, and
// whether the lane to its right does so with this lane's. All 32 lanes must take part.
struct EastMerge {
  bool from_left, into_right;

  template <class S>
  __device__ __forceinline__ explicit EastMerge(const TrilinearSample<S>& s)
      : EastMerge(s.row, s.column, s.south + 2 * s.after, s.reads, s.east) {
    const int slice = __shfl_up_sync(~0u, s.slice, 1);
    from_left = from_left && slice == s.slice;
    set_into_right();
  }

 private:
  // `others`: which pixels the sample reads in addition to those of its row.
  __device__ __forceinline__ EastMerge(int row, int column, int others, bool reads, bool east) {
    const int row_of_left = __shfl_up_sync(~0u, row, 1), column_of_left = __shfl_up_sync(~0u, column, 1);
    const int others_of_left = __shfl_up_sync(~0u, others, 1);
    const bool offered = __shfl_up_sync(~0u, int(reads && east), 1) != 0;
    const bool neighbours = row_of_left == row && column_of_left + 1 == column && others_of_left == others;
    from_left = offered && reads && neighbours && threadIdx.x % warp_size != 0;
    set_into_right();
  }
  __device__ __forceinline__ void set_into_right() {
    into_right = __shfl_down_sync(~0u, int(from_left), 1) != 0 && threadIdx.x % warp_size != warp_size - 1;
  }
};

// Adds one channel of one sample to the four sums of one slice, if it `reads`. All 32 lanes of the warp must
// take part.
template <class Sample, class S, class Index>
__device__ __forceinline__ void scatter_four(const GradAccumulator<S>& sums, const Sample& s, bool reads,
                                             const EastMerge& merge, const math::Corners<S>& weights,
                                             const math::Corners<Index>& at, S gradient) {
  math::Corners<S> part = {weights.nw * gradient, weights.ne * gradient, weights.sw * gradient,
                           weights.se * gradient};
  const S north = __shfl_up_sync(~0u, part.ne, 1), south = __shfl_up_sync(~0u, part.se, 1);
  if (!reads) return;
  sums.add(at.nw, merge.from_left ? part.nw + north : part.nw);
  if (s.south) sums.add(at.sw, merge.from_left ? part.sw + south : part.sw);
  if (!s.east || merge.into_right) return;
  sums.add(at.ne, part.ne);
  if (s.south) sums.add(at.se, part.se);
}

// Adds one channel of one sample of a volume to its sums.
template <class S, class Index>
__device__ __forceinline__ void scatter(const GradAccumulator<S>& sums, const TrilinearSample<S>& s,
                                        const EastMerge& merge, const math::Corners<Index, 3>& at,
                                        S gradient) {
  scatter_four(sums, s, s.reads, merge, s.weights.low, at.low, gradient);
  scatter_four(sums, s, s.reads && s.after, merge, s.weights.high, at.high, gradient);
}

}  // namespace internet::cuda
