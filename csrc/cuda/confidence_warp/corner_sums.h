// Sums of four numbers, one for each corner of a sample, over a group of lanes.
#pragma once

#include "cuda/runtime/lanes.h"
#include "math/bilinear.h"

namespace internet::cuda {

// Lane k of every four lanes gets the sum of the k-th number, from the north-west on. Lanes exchange the
// halves that they do not keep, which takes few shuffles. A group has at least four lanes; all 32 lanes of
// the warp must take part.
template <class S>
__device__ __forceinline__ S quarter_sum(const math::Corners<S>& d, int lanes) {
  const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
  const S north = (odd ? d.ne : d.nw) + __shfl_xor_sync(~0u, odd ? d.nw : d.ne, 1);
  const S south = (odd ? d.se : d.sw) + __shfl_xor_sync(~0u, odd ? d.sw : d.se, 1);
  S sum = (upper ? south : north) + __shfl_xor_sync(~0u, upper ? north : south, 2);
#pragma unroll
  for (int offset = 4; offset < warp_size; offset *= 2) {
    if (offset < lanes) sum += __shfl_xor_sync(~0u, sum, offset);
  }
  return sum;
}
template <class S>
__device__ __forceinline__ math::Corners<S> group_sums(const math::Corners<S>& d, int lanes) {
  return {group_sum(d.nw, lanes), group_sum(d.ne, lanes), group_sum(d.sw, lanes), group_sum(d.se, lanes)};
}

}  // namespace internet::cuda
