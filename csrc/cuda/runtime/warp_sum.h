// Sums and maxima over the lanes of a warp, in a fixed order.
#pragma once

#include "cuda/runtime/launch.h"
#include "math/anchor_affine.h"

namespace internet::cuda {

// Lane 0 gets the sum over all 32 lanes, which must all take part.
template <class S>
__device__ __forceinline__ S warp_sum(S value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_down_sync(~0u, value, offset);
  return value;
}

// Every lane gets the largest value; NaN is ignored.
template <class S>
__device__ __forceinline__ S warp_largest(S value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    value = math::larger(__shfl_xor_sync(~0u, value, offset), value);
  }
  return value;
}

template <class S, int N, int m>
__device__ __forceinline__ math::Affine<S, N, m> warp_sum(math::Affine<S, N, m> a) {
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < N; ++j) a.matrix[i][j] = warp_sum(a.matrix[i][j]);
    a.offset[i] = warp_sum(a.offset[i]);
  }
  return a;
}

}  // namespace internet::cuda
