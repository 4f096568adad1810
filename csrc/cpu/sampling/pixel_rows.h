// The rows of an image that a warp reads or adds to, as pixels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/runtime/isa.h"
#include "cpu/runtime/prefetch.h"

namespace internet::cpu::INTERNET_ISA {

// Consecutive rows begin..end-1.
struct Band {
  int64_t begin, end;
  bool contains(int64_t y) const { return y >= begin && y < end; }
};

INTERNET_HD Band band_of(int64_t index, int64_t height, int64_t bands) {
  return {index * height / bands, (index + 1) * height / bands};
}

// Pixel-major rows of an image by their number: in place, or in the slots of a ring.
template <class T>
struct PixelRows {
  T* const* row;
  int64_t column_stride;

  // Prefetches the four pixels of a sample: sample positions follow the field, which hardware prefetchers
  // cannot predict.
  template <class Samples>
  INTERNET_MEMBER void prefetch(const Samples& s, int64_t x, int64_t channels) const {
    T *north = row[s.y_low[x]], *south = row[s.y_high[x]];
    const int64_t west = s.x_low[x] * column_stride, east = s.x_high[x] * column_stride;
    for (T* pixel : {north + west, north + east, south + west, south + east}) {
      cpu::prefetch<Cache::first>(pixel, channels);
    }
  }
};

// How many samples ahead to prefetch: far enough to cover the memory latency, but no more than the
// first-level cache holds.
template <class T>
INTERNET_HD int64_t samples_ahead(int64_t channels) {
  return std::max<int64_t>(2, 768 / (channels * int64_t(sizeof(T))));
}

}  // namespace internet::cpu::INTERNET_ISA
