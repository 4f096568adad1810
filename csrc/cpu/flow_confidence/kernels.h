// Parameters of the kernels of the extrinsic confidence mask.
//
// The backward flow is first copied, whatever its layout, into pixels: x and y side by side, so that one load
// fetches both of two neighbouring pixels. Each row repeats its last pixel and each image its last row, so
// that every pixel of the image has a neighbour to the right and below.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/flow_confidence.h"

namespace internet::cpu {

// The layout of these pixels. A row is a whole number of vectors for every instruction set.
struct FlowPixels {
  int64_t height, width;

  int64_t rows() const { return height + 1; }
  int64_t pitch() const { return (width + 1 + 15) / 16 * 16; }
  int64_t size() const { return 2 * rows() * pitch(); }
};

// Tasks: every row of every image.
template <class T>
struct FlowToPixels {
  FlowPixels shape;
  Strided<const T, 4> flow;  // (B,2,H,W), pixels, x first
  opmath<T>* pixels;
};

// Tasks: batch * height, one for each row.
template <class T>
struct FlowConfidence {
  using S = opmath<T>;
  FlowPixels shape;
  Strided<const T, 4> flow_forward;
  const S* flow_backward;  // as pixels
  T* mask;                 // (B,1,H,W) contiguous
  math::FlowBounds<S> bounds;
  bool with_boundary;
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(flow_to_pixels, FlowToPixels)
INTERNET_DECLARE_KERNEL(flow_confidence, FlowConfidence)
