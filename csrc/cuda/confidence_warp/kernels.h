// Parameters of the kernels that warp features and gate them by confidence, and their launchers. The formulas
// are in csrc/math/confidence_warp.h.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/confidence_warp_views.h"
#include "cuda/runtime/storage.h"

namespace internet::cuda {

// The assignment of threads. `vectors`: neighbouring threads compute neighbouring channels, several at a
// time; the images' channels then have stride 1, their number is a multiple of warp_vector, and everything is
// aligned to that many. Otherwise neighbouring threads compute neighbouring pixels, in layers of some
// channels.
template <class T>
constexpr int warp_vector = 16 / sizeof(T);

template <class T>
struct ConfidenceWarp {
  SampledMotion<opmath<T>> motion;
  int64_t channels;
  Strided<const T, 4> features;  // (batch, channels, height, width)
  Strided<const T, 4> blend;     // likewise; no data: none
  Strided<T, 4> output;
};

// The gradient with respect to the motion at full resolution, (layers, 2 or 3, batch, height, width): x, y
// and, if there is one, the confidence; separately for each layer of channels.
template <class T>
struct WarpMotionBackward {
  SampledMotion<opmath<T>> motion;
  int64_t channels;
  Strided<const T, 4> features;
  Strided<const T, 4> grad_output;
  const opmath<T>* blend_dots;  // (batch, height, width), from WarpBlendBackward, or null
  opmath<T>* grad_motion;
};

// The gradient of the blend, and its part of the confidence's.
template <class T>
struct WarpBlendBackward {
  SampledMotion<opmath<T>> motion;
  int64_t channels;
  Strided<const T, 4> blend, grad_output;
  Strided<T, 4> grad_blend;  // no data: not wanted
  opmath<T>*
      blend_dots;  // (batch, height, width), the dot products of blend and grad_output; null: not wanted
};

template <class T>
cudaError_t confidence_warp(const ConfidenceWarp<T>& params, bool vectors, cudaStream_t stream);
template <class T>
cudaError_t warp_motion_backward(const WarpMotionBackward<T>& params, bool vectors, cudaStream_t stream);
int64_t warp_motion_backward_layers(int64_t channels, bool vectors);
template <class T>
cudaError_t warp_blend_backward(const WarpBlendBackward<T>& params, bool vectors, cudaStream_t stream);

}  // namespace internet::cuda
