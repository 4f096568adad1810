// Parameters of the affine-mixture kernels, and their launchers. A block computes one tile: as many
// neighbouring pixels of one image as it has threads.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/anchor_views.h"
#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"

namespace internet::cuda {

// Input of both directions.
template <class T, int N>
struct AffineMixture {
  using S = opmath<T>;
  PixelGrid<S, N> grid;
  TilePlan plan;
  Strided<const T, N + 2> logits;    // (B, K+1, (D,) H, W)
  AnchorViews<S, N> views;           // of the anchors and the background
  const math::Affine<S, N>* affine;  // (B, K); not set for translations of tiles that need no scratch
  unsigned char* scratch;
  int anchors;
  bool translations;  // there are no Jacobians
  S threshold;
};

template <class T, int N>
struct AffineMixtureForward : AffineMixture<T, N> {
  opmath<T>* field;  // (B, (D,) H, W, N), contiguous
};

template <class T, int N>
struct AffineMixtureBackward : AffineMixture<T, N> {
  using S = opmath<T>;
  Strided<const S, N + 2> grad_field;  // (B, (D,) H, W, N)
  Strided<T, N + 2> grad_logits;       // no data: not wanted
  // (B, tiles, K) and (B, tiles): gradients with respect to each affine map and the background's; null: not
  // wanted
  math::Affine<S, N>* partials;
  math::Projective<S, N>* background_partials;
};

// If a tile has more anchors than fit into shared memory (280 in float32), it lies in global memory:
// plan.shared_bytes of `scratch` for each block.
INTERNET_HD bool needs_scratch(const TilePlan& plan) { return plan.shared_bytes > shared_bytes_of_a_block; }

// Of `grad_logits`, plan_backward needs only the strides.
template <class S, int N>
TilePlan plan_forward(int anchors);
template <class S, int N>
TilePlan plan_backward(int anchors, const int64_t (&size)[N], const int64_t* grad_logits_stride);

template <class T, int N>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>& params, cudaStream_t stream);
template <class T, int N>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>& params, cudaStream_t stream);

}  // namespace internet::cuda
