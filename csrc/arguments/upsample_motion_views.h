// What the kernels of upsample_motion receive: one progressive 2x step of a field and its confidence, or its
// adjoint. T is float or double; a map without data is skipped.
#pragma once

#include "arguments/strided.h"

namespace internet {

template <class T>
struct UpsampleMotion {
  Strided<const T, 4> field;       // (B, h, w, 2)
  Strided<const T, 4> confidence;  // (B, 1, h, w)
  T* fine_field;                   // (B, 2h, 2w, 2), contiguous
  T* fine_confidence;              // (B, 1, 2h, 2w), contiguous
  int64_t batch, height, width;    // B, h, w
};

template <class T>
struct UpsampleMotionBackward {
  Strided<const T, 4> grad_fine_field, grad_fine_confidence;
  T *grad_field, *grad_confidence;  // contiguous
  int64_t batch, height, width;
};

}  // namespace internet
