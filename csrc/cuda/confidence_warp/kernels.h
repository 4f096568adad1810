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
template <class S>
struct MotionGradient {
  SampledMotion<S> motion;
  const S* blend_dots;  // (batch, height, width), from WarpBlendBackward, or null
  S* data;
};

// Computes it by reading the features as the forward pass does.
template <class T>
struct WarpMotionBackward {
  MotionGradient<opmath<T>> gradient;
  int64_t channels;
  Strided<const T, 4> features;
  Strided<const T, 4> grad_output;
};

// For each output pixel the dot products of its gradient with the pixels of the features that it reads, from
// the north-west one on: (layers, 4, pixels). What it does not read is not written.
template <class S>
struct CornerDots {
  S* data;
  int64_t pixels;  // of some images

  // Those of one layer, from a pixel on.
  INTERNET_MEMBER CornerDots from(int64_t layer, int64_t pixel) const {
    return {data + 4 * layer * pixels + pixel, pixels};
  }
  INTERNET_MEMBER S& at(int corner, int64_t pixel) const { return data[corner * pixels + pixel]; }
};

// Computes the gradient with respect to the motion, in one layer, from these.
template <class S>
struct WarpMotionFromDots {
  MotionGradient<S> gradient;
  CornerDots<S> dots;
  int64_t first_image, images, layers;  // the images that there are dot products of
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
template <class S>
cudaError_t warp_motion_from_dots(const WarpMotionFromDots<S>& params, cudaStream_t stream);
template <class T>
cudaError_t warp_blend_backward(const WarpBlendBackward<T>& params, bool vectors, cudaStream_t stream);

}  // namespace internet::cuda
