// The adjoint of resizing a coarse map: from gradients at the size of the features to those of the map.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/map_resize.h"

namespace internet::cuda {

// S is float or double. The fine gradient is a sum of `parts`, added up in a fixed order.
template <class S>
struct MapAdjoint {
  MapResize resize;
  int64_t batch, channels, parts;
  const S* fine;            // (channels, batch, fine height, fine width), for each part
  int64_t part_stride = 0;  // from one part to the next
  S* coarse;                // (batch, height, width, channels)
  bool accumulate = false;  // add to what is there
};

template <class S>
cudaError_t map_adjoint(const MapAdjoint<S>& params, cudaStream_t stream);

}  // namespace internet::cuda
