// How wide a number must be to count the elements of one image.
#pragma once

#include <cstdint>

#include "../strided.h"

namespace internet::cuda {

// Whether 32 bits hold every offset inside an image of a (B, C, H, W) tensor, and, with room to round up, its
// rows and columns: products of 64 bits cost a GPU several instructions each. Images still lie anywhere.
template <class T>
bool fits_32_bits(const Strided<T, 4>& view, int64_t channels, int64_t height, int64_t width) {
  constexpr int64_t most = int64_t(1) << 30;
  if (height >= most || width >= most) return false;
  const int64_t sizes[3] = {channels, height, width};
  int64_t last = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t steps = sizes[axis] - 1, stride = view.stride[axis + 1];
    if (steps <= 0) continue;
    if (stride > most / steps) return false;
    last += steps * stride;
  }
  return last < most;
}

}  // namespace internet::cuda
