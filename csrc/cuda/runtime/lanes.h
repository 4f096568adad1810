// Groups of lanes that share the work on a pixel: powers of two, so that none extends over two warps.
#pragma once

#include "cuda/runtime/launch.h"
#include "math/host_device.h"

namespace internet::cuda {

// How many lanes share `items` pieces of work (at least one): the largest power of two up to that, at most a
// warp.
INTERNET_HD int lanes_for(int64_t items) {
  int lanes = 1;
  while (2 * lanes <= items && lanes < warp_size) lanes *= 2;
  return lanes;
}

// Every lane gets the sum over its group, with the same bits in all. All 32 lanes of the warp must take part.
template <class S>
__device__ __forceinline__ S group_sum(S value, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(~0u, value, offset);
  return value;
}

}  // namespace internet::cuda
