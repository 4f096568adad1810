// Parameters of the kernel of the extrinsic confidence mask, and its launcher.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "arguments/strided.h"
#include "cuda/runtime/storage.h"
#include "math/flow_confidence.h"

namespace internet::cuda {

template <class T>
struct FlowConfidence {
  using S = opmath<T>;
  Strided<const T, 4> flow_forward, flow_backward;  // (B, 2, H, W), pixels, x first
  T* mask;                                          // (B, 1, H, W), contiguous
  int64_t batch, height, width;
  math::FlowBounds<S> bounds;
  bool with_boundary;
};

template <class T>
cudaError_t flow_confidence(const FlowConfidence<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
