// Parameters of the affine-mixture kernels, and their launchers. A block does a tile: as many neighbouring
// pixels of one image as it has threads.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/strided.h"
#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"
#include "math/anchor_affine.h"

namespace internet::cuda {

template <class T>
struct AffineMixtureForward {
  using S = opmath<T>;
  PixelGrid<S> grid;
  TilePlan plan;
  Strided<const T, 4> logits;        // (B, K+1, H, W)
  const math::Affine<S, 2>* affine;  // (B, K)
  S* field;                          // (B, H, W, 2), contiguous
  unsigned char* scratch;
  int anchors;
  S threshold;
};

template <class T>
struct AffineMixtureBackward {
  using S = opmath<T>;
  PixelGrid<S> grid;
  TilePlan plan;
  Strided<const T, 4> logits;
  Strided<const S, 4> grad_field;  // (B, H, W, 2)
  const math::Affine<S, 2>* affine;
  Strided<T, 4> grad_logits;     // no data: not wanted
  math::Affine<S, 2>* partials;  // (B, tiles, K): gradient with respect to each affine map; null: not wanted
  unsigned char* scratch;
  int anchors;
  S threshold;
};

// A tile of more anchors than shared memory has room for (280 in float32) lies in global memory:
// plan.shared_bytes of it for each block, at `scratch`.
INTERNET_HD bool needs_scratch(const TilePlan& plan) { return plan.shared_bytes > shared_bytes_of_a_block; }

// `grad_logits` of the second has its strides; its data is not looked at.
template <class S>
TilePlan plan_forward(int anchors);
template <class S>
TilePlan plan_backward(int anchors, int64_t width, const int64_t* grad_logits_stride);

template <class T>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T>& params, cudaStream_t stream);
template <class T>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
