// One progressive 2x step of a flow and its confidence: parameters and launchers. T is float or double; a map
// without data is skipped.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../strided.h"

namespace internet::cuda {

template <class T>
struct UpsampleMotion {
  Strided<const T, 4> flow;        // (B, h, w, 2)
  Strided<const T, 4> confidence;  // (B, 1, h, w)
  T* fine_flow;                    // (B, 2h, 2w, 2), contiguous
  T* fine_confidence;              // (B, 1, 2h, 2w), contiguous
  int64_t batch, height, width;    // h, w
};

template <class T>
struct UpsampleMotionBackward {
  Strided<const T, 4> grad_fine_flow, grad_fine_confidence;
  T *grad_flow, *grad_confidence;  // contiguous
  int64_t batch, height, width;
};

template <class T>
cudaError_t upsample_motion(const UpsampleMotion<T>& params, cudaStream_t stream);
template <class T>
cudaError_t upsample_motion_backward(const UpsampleMotionBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
