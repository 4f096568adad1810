// Parameters of the anchor-features kernels, and their launchers, for images (N = 2) and volumes (N = 3). A
// block computes a strip of pixels (strips.h), one chunk of anchors after another. Here the background is
// anchor 0, which has no key points.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/anchor_features_views.h"
#include "cuda/anchor_features/packed_source.h"
#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"
#include "cuda/scatter/gradient_sums.h"
#include "math/anchor_features.h"

namespace internet::cuda {

// An anchor as each pixel reads it, aligned so that few loads fetch it.
template <class S, int N>
struct alignas(4 * sizeof(S)) AnchorMotion {
  math::Affine<S, N> motion;  // from pixels of the output to pixels of the source
  math::HeatMap<S, N> heat_map;
};

template <class S, int N>
struct AnchorMotions {
  HeatMapViews<S, N> anchors;
  int64_t batch, count;  // K
  math::PixelAxis<double> axes[N];
  AnchorMotion<S, N>* motions;          // (B, K+1)
  math::Projective<S, N>* backgrounds;  // (B), in pixels; null: no background moves
};

// From the partial sums of the heat maps' moments to gradients: those with respect to the covariances,
// contiguous, and those with respect to the key points, to which they are added.
template <class S, int N>
struct HeatMapGradients {
  HeatMapViews<S, N> anchors;
  int64_t batch, count, parts;
  const math::HeatMapMoments<S, N>* partials;                          // (B, parts, K)
  S *kp_source, *kp_driving, *covariance_source, *covariance_driving;  // the last two are null if not wanted
};

struct AnchorPlan {
  TilePlan tile;
  int anchors_at_once, steps_at_once;
};

template <class T, int N>
struct AnchorFeaturesForward {
  using S = opmath<T>;
  PixelGrid<S, N> grid;
  AnchorPlan plan;
  PackedSource<T> source;
  const AnchorMotion<S, N>* motions;          // (B, K+1)
  const math::Projective<S, N>* backgrounds;  // (B): replace the first motions; null: none
  Strided<T, N + 2> output;                   // (B, (K+1)(1+C), ...)
  int channels, anchors;                      // C and K+1
  bool has_covariances;
};

template <class T, int N>
struct AnchorFeaturesBackward {
  using S = opmath<T>;
  PixelGrid<S, N> grid;
  AnchorPlan plan;
  Strided<const T, N + 2> grad_output;
  PackedSource<T> source;
  const AnchorMotion<S, N>* motions;
  const math::Projective<S, N>* backgrounds;
  Strided<const S, 3> background;           // (B, N+1, N+1), in normalised coordinates
  GradientSums sums;                        // of the source's gradient
  bool to_anchors, has_covariances;         // whether gradients below are wanted, and second moments
  math::Affine<S, N>* grad_motion;          // (B, parts, K): with respect to the normalised motions
  math::Projective<S, N>* grad_background;  // (B, parts): likewise, if there are backgrounds
  math::HeatMapMoments<S, N>* grad_heat;    // (B, parts, K)
  int channels, anchors;
  S scale[N];  // from normalised units of the motion to pixels of the source
};

// Of `output` and `grad_output`, only the strides are used.
template <class T, int N>
AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>& params);
// How many partial sums the backward pass leaves of each image.
template <class S, int N>
int64_t anchor_features_parts(const PixelGrid<S, N>& grid);
template <class T, int N>
AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>& params);

template <class S, int N>
cudaError_t anchor_motions(const AnchorMotions<S, N>& params, cudaStream_t stream);
template <class S, int N>
cudaError_t heat_map_gradients(const HeatMapGradients<S, N>& params, cudaStream_t stream);
template <class T, int N>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>& params, cudaStream_t stream);
template <class T, int N>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>& params, cudaStream_t stream);

}  // namespace internet::cuda
