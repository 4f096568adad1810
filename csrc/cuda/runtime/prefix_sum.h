// Sums over the threads of a block that come before a thread.
#pragma once

#include <cstdint>

#include "cuda/runtime/launch.h"

namespace internet::cuda {

struct PrefixSum {
  uint32_t before, all;  // over the threads before this one; over all
};

// Must be called by all threads of a block; `of_warp` is shared memory that nobody else uses meanwhile.
template <int warps>
__device__ __forceinline__ PrefixSum prefix_sum(uint32_t value, uint32_t (&of_warp)[warps]) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  uint32_t sum = value;  // up to and including this lane
#pragma unroll
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const uint32_t other = __shfl_up_sync(~0u, sum, offset);
    if (lane >= offset) sum += other;
  }
  if (lane == warp_size - 1) of_warp[warp] = sum;
  __syncthreads();
  PrefixSum result{sum - value, 0};
#pragma unroll
  for (int i = 0; i < warps; ++i) {
    if (i < warp) result.before += of_warp[i];
    result.all += of_warp[i];
  }
  return result;
}

}  // namespace internet::cuda
