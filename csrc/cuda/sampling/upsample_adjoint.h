// The adjoint of the upsampling: from gradients with respect to maps at full resolution to those with respect
// to the coarse maps.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace internet::cuda {

// S is float or double. Fine and coarse maps are those of x, y and confidence; field or confidence may be
// null, and then has no fine maps either. The fine gradient is a sum of `parts`, added up in one fixed order.
template <class S>
struct UpsampleAdjoint {
  const S* fine;  // (parts, maps, batch, height << steps, width << steps)
  S* field;       // (batch, height, width, 2)
  S* confidence;  // (batch, height, width)
  int steps;
  int64_t parts, batch, height, width;
  bool accumulate;  // add to what is there
};

template <class S>
cudaError_t upsample_adjoint(const UpsampleAdjoint<S>& params, cudaStream_t stream);

}  // namespace internet::cuda
