// The anchors' Gaussians at a pixel, and the moments from which their gradients are computed.
#pragma once

#include "cuda/runtime/warp_sum.h"
#include "math/anchor_features.h"

namespace internet::cuda {

template <class S, int N>
INTERNET_HD S exponent_at(const math::Point<S, N>& z, const math::Gaussian<S, N>& g, bool has_covariance,
                          S (&d)[N]) {
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) d[a] = z.axis[a] - g.point[a];
  return has_covariance ? math::exponent_at(g, d) : math::isotropic_exponent_at(g, d);
}
template <class S, int N>
INTERNET_HD S gaussian_at(const math::Point<S, N>& z, const math::Gaussian<S, N>& g, bool has_covariance) {
  S d[N];
  return math::gaussian_value(exponent_at(z, g, has_covariance, d));
}

template <class S, int N>
__device__ __forceinline__ math::GaussianMoments<S, N> warp_moments(math::GaussianMoments<S, N> moments) {
#pragma unroll
  for (int a = 0; a < N; ++a) moments.first[a] = warp_sum(moments.first[a]);
#pragma unroll
  for (int i = 0; i < math::axis_pairs<N>; ++i) moments.second[i] = warp_sum(moments.second[i]);
  return moments;
}

}  // namespace internet::cuda
