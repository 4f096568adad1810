// Parameters of the soft-argmax kernels, and their launchers. A block computes a tile of pixels of one or
// several anchors of an image, or of a volume, with N axes. An image is a volume of one slice.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/strided.h"
#include "cuda/runtime/storage.h"
#include "cuda/soft_argmax/arrangement.h"
#include "math/soft_argmax.h"

namespace internet::cuda {

// Sums over some pixels of a heat map, relative to the largest logit among them.
template <class S, int N>
struct alignas(4 * sizeof(S)) HeatPartial {
  S largest;
  math::HeatSums<S, N> sums;
};

template <class T, int N>
struct HeatMaps {
  using S = opmath<T>;
  PixelGrid<S, N> grid;
  Strided<const T, 5> logits;  // (B, K, D, H, W)
  Strided<const T, 6> map;     // (B, K or 1, N * N, D, H, W); no data: none
  int64_t anchors;
  bool shared_map;       // one map for all anchors
  bool anchors_in_turn;  // a thread processes its pixels for all anchors
  S per_temperature;
  Arrangement by;

  INTERNET_MEMBER int64_t map_of(int64_t anchor) const { return shared_map ? 0 : anchor; }
};

template <class T, int N>
struct SoftArgmaxForward {
  using S = opmath<T>;
  HeatMaps<T, N> in;
  HeatPartial<S, N>* partials;  // (B, K, tiles); without a map, jac is not set
};

// From the sums over the tiles of each heat map to the results, contiguous.
template <class S, int N>
struct SoftArgmaxMerge {
  int64_t planes, tiles;  // B * K
  const HeatPartial<S, N>* partials;
  S per_temperature;
  S* kp;          // (B, K, N)
  S* jac;         // (B, K, N, N); null without a map
  S* statistics;  // (B, K, 2): the largest logit, and the sum of e relative to it
};

// The second pass: moments about the key points, with weights relative to the largest logit of all.
template <class T, int N>
struct SoftArgmaxMoments {
  using S = opmath<T>;
  HeatMaps<T, N> in;
  const S *kp, *statistics;           // of the first pass
  math::HeatMoments<S, N>* partials;  // (B, K, tiles)
};
template <class S, int N>
struct SoftArgmaxCovariance {
  int64_t planes, tiles;
  const math::HeatMoments<S, N>* partials;
  const S* statistics;
  S* covariance;  // (B, K, N, N)
};

template <class T, int N>
struct SoftArgmaxBackward {
  using S = opmath<T>;
  HeatMaps<T, N> in;
  Strided<const S, 3> kp, statistics, grad_kp;  // gradients without data are zero
  Strided<const S, 4> jac, covariance, grad_jac, grad_covariance;
  Strided<T, 5> grad_logits;  // no data: not wanted
  Strided<T, 6> grad_map;     // no data: not wanted
};

template <class T, int N>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>& params, cudaStream_t stream);
template <class S, int N>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>& params, cudaStream_t stream);
template <class T, int N>
cudaError_t soft_argmax_moments(const SoftArgmaxMoments<T, N>& params, cudaStream_t stream);
template <class S, int N>
cudaError_t soft_argmax_covariance(const SoftArgmaxCovariance<S, N>& params, cudaStream_t stream);
template <class T, int N>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>& params, cudaStream_t stream);

}  // namespace internet::cuda
