// Where the samples of a warp lie, as the kernels of confidence_warp and pyramid_warp receive it.
#pragma once

#include "arguments/map_resize.h"
#include "arguments/strided.h"
#include "math/host_device.h"

namespace internet {

// The output has the size of the features, height x width; each coarse map may have a different one. S is
// float or double.
template <class S>
struct SampledMotion {
  Strided<const S, 4> field;       // (batch, h, w, 2), normalised coordinates
  Strided<const S, 4> confidence;  // (batch, 1, h', w'); no data: ones
  MapResize field_resize, confidence_resize;
  int64_t batch, height, width;
  bool border, align_corners;
};

}  // namespace internet
