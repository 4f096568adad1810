// From anchors to affine maps, and from the maps' gradients to the anchors' and the background's, without the
// host waiting for the device.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/anchor_views.h"

namespace internet::cuda {

template <class S, int N>
struct AnchorAffines {
  AnchorViews<S, N> anchors;
  int64_t batch, count;
  math::Affine<S, N>* affine;  // (batch, count)
};

// Gradients of the five tensors, contiguous, from the partial sums of the maps' gradients in `partials` and
// `background_partials`, added up in a fixed order. Without Jacobians or a background, theirs are null.
template <class S, int N>
struct AnchorGradients {
  AnchorViews<S, N> anchors;
  int64_t batch, count, parts;
  const math::Affine<S, N>* partials;                 // (batch, parts, count)
  const math::Projective<S, N>* background_partials;  // (batch, parts)
  S *kp_source, *kp_driving, *jac_source, *jac_driving, *background;
};

// For float and double, and for 2 and 3 axes.
template <class S, int N>
cudaError_t anchor_affines(const AnchorAffines<S, N>& params, cudaStream_t stream);
template <class S, int N>
cudaError_t anchor_gradients(const AnchorGradients<S, N>& params, cudaStream_t stream);

}  // namespace internet::cuda
