// From anchors to affine maps, and back from their gradients, without the host waiting for the device.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/anchor_views.h"

namespace internet::cuda {

template <class S>
struct AnchorAffines {
  AnchorViews<S> anchors;
  int64_t batch, count;
  math::Affine<S>* affine;  // (batch, count)
};

// Gradients of the four tensors, contiguous, from those of the affine maps, of which `partials` holds
// summands: added up in one fixed order. No Jacobians: their gradients are null. `direct` holds summands of
// what reaches the key points past the maps; null: nothing does.
template <class S>
struct AnchorGradients {
  AnchorViews<S> anchors;
  int64_t batch, count, parts;
  const math::Affine<S>* partials;   // (batch, parts, count)
  const math::KeyPoints<S>* direct;  // (batch, parts, count)
  S *kp_source, *kp_driving, *jac_source, *jac_driving;
};

// For float and double.
template <class S>
cudaError_t anchor_affines(const AnchorAffines<S>& params, cudaStream_t stream);
template <class S>
cudaError_t anchor_gradients(const AnchorGradients<S>& params, cudaStream_t stream);

}  // namespace internet::cuda
