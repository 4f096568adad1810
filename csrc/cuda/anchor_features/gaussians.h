// The anchors' Gaussians at a pixel, and the moments from which their gradients are computed.
#pragma once

#include "cuda/runtime/warp_sum.h"
#include "math/anchor_features.h"

namespace internet::cuda {

template <class S, int N>
__device__ __forceinline__ math::GaussianMoments<S, N> warp_moments(math::GaussianMoments<S, N> moments,
                                                                    bool has_covariance) {
#pragma unroll
  for (int a = 0; a < N; ++a) moments.first[a] = warp_sum(moments.first[a]);
  if (!has_covariance) return moments;
#pragma unroll
  for (int i = 0; i < math::axis_pairs<N>; ++i) moments.second[i] = warp_sum(moments.second[i]);
  return moments;
}

}  // namespace internet::cuda
