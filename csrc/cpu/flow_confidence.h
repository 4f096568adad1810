// What the kernel of the extrinsic confidence mask is given.
#pragma once

#include "../strided.h"
#include "isa.h"
#include "simd.h"

namespace internet::cpu {

// Tasks: batch * height, one for each row.
template <class T>
struct FlowConfidence {
  using S = opmath<T>;
  Strided<const T, 4> flow_forward, flow_backward;  // (B,2,H,W), pixels, x first
  T* mask;                                          // (B,1,H,W) contiguous
  int64_t height, width;
  S consistency_scale, consistency_offset;
  bool with_boundary;
  S boundary_scale, boundary_offset;
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(flow_confidence, FlowConfidence)
