// The launchers of upsample_motion's kernels.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/upsample_motion_views.h"

namespace internet::cuda {

template <class T>
cudaError_t upsample_motion(const UpsampleMotion<T>& params, cudaStream_t stream);
template <class T>
cudaError_t upsample_motion_backward(const UpsampleMotionBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
