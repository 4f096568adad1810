// Where the samples of a warp lie, as the kernels of confidence_warp and pyramid_warp are given it.
#pragma once

#include "arguments/strided.h"
#include "math/host_device.h"

namespace internet {

// The output has the size of the features, height x width, ratio() times that of the coarse maps. S is float
// or double.
template <class S>
struct SampledMotion {
  Strided<const S, 4> field;       // (batch, height >> steps, width >> steps, 2), normalised coordinates
  Strided<const S, 4> confidence;  // (batch, 1, height >> steps, width >> steps); no data: ones
  int64_t batch, height, width;
  int steps;
  bool border, align_corners;

  INTERNET_MEMBER int64_t ratio() const { return int64_t(1) << steps; }
};

}  // namespace internet
