// Where the samples of a volume lie, as kernels receive it.
#pragma once

#include "arguments/strided.h"
#include "math/host_device.h"

namespace internet {

// One sample for each voxel of the output, (batch, channels, depth, height, width). S is float or double.
template <class S>
struct SampledVolume {
  Strided<const S, 5> field;       // (batch, depth, height, width, 3), normalised coordinates of the volume
  Strided<const S, 5> confidence;  // (batch, 1, depth, height, width); no data: ones
  int64_t batch, depth, height, width;
  int64_t size[3];  // of the volume, in the order of the coordinates: width, height, depth
  bool border, align_corners;

  INTERNET_MEMBER int64_t rows() const { return depth * height; }
};

}  // namespace internet
