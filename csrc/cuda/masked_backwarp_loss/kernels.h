// The back-warped residual and its norm: parameters of the kernels, and their launchers. The formulas are in
// csrc/math/masked_backwarp_loss.h, and for the sample and its gradient in csrc/math/confidence_warp.h.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/masked_backwarp_loss_views.h"
#include "cuda/runtime/storage.h"
#include "cuda/scatter/gradient_sums.h"

namespace internet::cuda {

// One of the two results is null.
template <class T>
struct MaskedBackwarpLoss {
  BackwarpInputs<T> in;
  double* partials;  // masked_backwarp_loss_partials(...) of them, each the sum over some pixels
  opmath<T>* local;  // (B, 1, H, W), contiguous: each pixel's sum over channels
};

// loss = sum of the partials / divisor, in a fixed order.
template <class S>
struct SumPartials {
  const double* partials;
  int64_t count;
  double divisor;
  S* loss;
};

// Gradients that are null are not wanted.
template <class T>
struct MaskedBackwarpLossBackward {
  using S = opmath<T>;
  BackwarpInputs<T> in;
  Strided<const S, 4> grad_loss;  // (B, 1, H, W), or one value with strides 0; times grad_scale
  S grad_scale;
  GradientSums sums;  // the gradient with respect to the output
  Strided<T, 4> grad_target;
  S* grad_flow;  // (B, 2, H, W), contiguous
  S* grad_mask;  // (B, 1, H, W), contiguous, at full resolution
};

int64_t masked_backwarp_loss_partials(int64_t batch, int64_t height, int64_t width);
template <class T>
cudaError_t masked_backwarp_loss(const MaskedBackwarpLoss<T>& params, cudaStream_t stream);
template <class S>
cudaError_t sum_partials(const SumPartials<S>& params, cudaStream_t stream);
template <class T>
cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
