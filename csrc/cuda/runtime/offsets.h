// Whether 32-bit offsets suffice for the elements of one image.
#pragma once

#include <cstdint>

#include "arguments/strided.h"

namespace internet::cuda {

// Whether 32 bits hold every offset inside an image of a tensor (B, ...) whose other axes have these sizes,
// with room to round up its rows and columns. 64-bit products cost a GPU several instructions each. The
// images themselves may be anywhere.
template <int N>
bool fits_32_bits(const int64_t (&strides)[N], const int64_t (&sizes)[N - 1]) {
  constexpr int64_t most = int64_t(1) << 30;
  int64_t last = 0;
  for (int axis = 0; axis < N - 1; ++axis) {
    const int64_t steps = sizes[axis] - 1, stride = strides[axis + 1];
    if (steps <= 0) continue;
    if (steps >= most || stride > most / steps) return false;
    last += steps * stride;
  }
  return last < most;
}
template <class T, int N>
bool fits_32_bits(const Strided<T, N>& view, const int64_t (&sizes)[N - 1]) {
  return fits_32_bits(view.stride, sizes);
}

}  // namespace internet::cuda
