// One progressive 2x step of a flow and its confidence. Every task is a row: fine ones forward, coarse ones
// backward. T is float or double; a map without data is skipped.
#pragma once

#include "../strided.h"
#include "isa.h"

namespace internet::cpu {

template <class T>
struct UpsampleMotion {
  Strided<const T, 4> flow;        // (B, h, w, 2)
  Strided<const T, 4> confidence;  // (B, 1, h, w)
  T* fine_flow;                    // (B, 2h, 2w, 2), contiguous
  T* fine_confidence;              // (B, 1, 2h, 2w), contiguous
  int64_t height, width;           // h, w
};

template <class T>
struct UpsampleMotionBackward {
  Strided<const T, 4> grad_fine_flow, grad_fine_confidence;
  T *grad_flow, *grad_confidence;  // contiguous
  int64_t height, width;
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(upsample_motion, UpsampleMotion)
INTERNET_DECLARE_KERNEL(upsample_motion_backward, UpsampleMotionBackward)
