// Parameters of the anchor-features kernels, and their launchers. A block does a tile of pixels, for one
// chunk of anchors after another. The background is anchor 0 here, and has no key points.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/anchor_views.h"
#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"
#include "cuda/scatter/gradient_sums.h"
#include "math/anchor_features.h"

namespace internet::cuda {

// What a pixel needs to know of an anchor, so aligned that few loads fetch it.
template <class S>
struct alignas(4 * sizeof(S)) AnchorMotion {
  math::Affine<S, 2> motion;  // from pixels of the output to pixels of the source
  math::KeyPoints<S, 2> points;
};

template <class S>
struct AnchorMotions {
  AnchorViews<S, 2> anchors;
  int64_t batch, count;  // K
  math::PixelAxis<double> x, y;
  AnchorMotion<S>* motions;  // (B, K+1)
};

struct AnchorPlan {
  TilePlan tile;
  int anchors_at_once;
};

template <class T>
struct AnchorFeaturesForward {
  using S = opmath<T>;
  PixelGrid<S> grid;
  AnchorPlan plan;
  Strided<const T, 4> source;      // (B, C, H, W)
  const AnchorMotion<S>* motions;  // (B, K+1)
  Strided<T, 4> output;            // (B, (K+1)(1+C), H, W)
  int channels, anchors;           // C and K+1
  S per_twice_variance;
};

template <class T>
struct AnchorFeaturesBackward {
  using S = opmath<T>;
  PixelGrid<S> grid;
  AnchorPlan plan;
  Strided<const T, 4> grad_output, source;
  const AnchorMotion<S>* motions;
  GradientSums sums;                 // of the source's gradient
  math::Affine<S, 2>* grad_motion;   // (B, tiles, K): by the normalised motions; null: not wanted
  math::KeyPoints<S, 2>* grad_heat;  // (B, tiles, K): by the key points, through the heat maps
  int channels, anchors;
  S per_twice_variance;
  S x_scale, y_scale;  // pixels of the source to a unit of the normalised motion
};

// `output` and `grad_output` are looked at for their strides alone.
template <class T>
AnchorPlan plan_forward(int anchors, int channels, const int64_t (&size)[2], const Strided<T, 4>& output);
template <class T>
AnchorPlan plan_backward(int anchors, int channels, const int64_t (&size)[2],
                         const Strided<const T, 4>& grad_output);

template <class S>
cudaError_t anchor_motions(const AnchorMotions<S>& params, cudaStream_t stream);
template <class T>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T>& params, cudaStream_t stream);
template <class T>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
