// Sums, and the largest, over the lanes of a warp, in one fixed order.
#pragma once

#include "cuda/runtime/launch.h"
#include "math/anchor_affine.h"

namespace internet::cuda {

// Lane 0 gets the sum over all 32 lanes, which must all be here.
template <class S>
__device__ __forceinline__ S warp_sum(S value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_down_sync(~0u, value, offset);
  return value;
}

// Every lane gets the largest; a NaN is passed over.
template <class S>
__device__ __forceinline__ S warp_largest(S value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    value = math::larger(__shfl_xor_sync(~0u, value, offset), value);
  }
  return value;
}

template <class S>
__device__ __forceinline__ math::Affine<S> warp_sum(const math::Affine<S>& a) {
  return {warp_sum(a.xx), warp_sum(a.xy), warp_sum(a.yx), warp_sum(a.yy), warp_sum(a.x), warp_sum(a.y)};
}

template <class S>
__device__ __forceinline__ math::KeyPoints<S> warp_sum(const math::KeyPoints<S>& p) {
  return {{warp_sum(p.source[0]), warp_sum(p.source[1])}, {warp_sum(p.driving[0]), warp_sum(p.driving[1])}};
}

}  // namespace internet::cuda
