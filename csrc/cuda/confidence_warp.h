// Warping gated by confidence: parameters of the kernels, and their launchers. csrc/math/confidence_warp.h
// has the formulas.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/confidence_warp_views.h"
#include "gradient_sums.h"
#include "storage.h"

namespace internet::cuda {

// How threads are dealt out. `vectors`: neighbouring threads do neighbouring channels, several at a time; the
// images' channels then have stride 1, are a multiple of warp_vector, and everything is aligned to that many.
// Otherwise neighbouring threads do neighbouring pixels, in layers of some channels.
template <class T>
constexpr int warp_vector = 16 / sizeof(T);
template <class T>
constexpr int warp_backward_vector = sizeof(T) == 8 ? 2 : 4;  // the sums' type is never smaller than float

template <class T>
struct ConfidenceWarp {
  SampledMotion<opmath<T>> motion;
  int64_t channels;
  Strided<const T, 4> features;  // (batch, channels, height, width)
  Strided<T, 4> output;
};

template <class T>
struct ConfidenceWarpBackward {
  SampledMotion<opmath<T>> motion;
  Strided<const T, 4> features;
  Strided<const T, 4> grad_output;
  ScatterPass pass;  // with `vectors`, sums whose channels have stride 1
  // At full resolution, (layers, 2 or 3, batch, height, width): by x, y and, if there is one, confidence,
  // each layer's own; the pass begins with first_layer. Null: not wanted.
  opmath<T>* grad_motion;
  int64_t first_layer;
};

template <class T>
cudaError_t confidence_warp(const ConfidenceWarp<T>& params, bool vectors, cudaStream_t stream);
template <class T>
cudaError_t confidence_warp_backward(const ConfidenceWarpBackward<T>& params, bool vectors,
                                     cudaStream_t stream);
// Of a pass over so many channels.
int64_t confidence_warp_backward_layers(int64_t channels, bool vectors);

}  // namespace internet::cuda
