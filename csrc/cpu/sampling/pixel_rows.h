// Which source rows are at hand while the rows of an output are walked in order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/runtime/isa.h"
#include "cpu/runtime/scratch.h"

namespace internet::cpu::INTERNET_ISA {

// Consecutive rows begin..end-1.
struct Band {
  int64_t begin, end;
  bool contains(int64_t y) const { return y >= begin && y < end; }
};

INTERNET_HD Band band_of(int64_t index, int64_t height, int64_t bands) {
  return {index * height / bands, (index + 1) * height / bands};
}

// How many source rows must be at hand at a time while the output rows of `output` are walked in order, each
// of which reads the source rows ranges[2 * y] to ranges[2 * y + 1], of which those outside `source` do not
// count: the most there are between the first one still to be read and the last one read. Of a smooth field
// that is a few rows, whatever the image.
struct RowsAtHand {
  int64_t first, count;
};
[[gnu::noinline]] static RowsAtHand rows_at_hand(const int32_t* ranges, Band output, Band source) {
  const int64_t count = output.end - output.begin;
  WorkingMemory<int64_t> needed(count + 1);
  needed[count] = source.end;
  for (int64_t i = count - 1; i >= 0; --i) {
    const int64_t first = ranges[2 * (output.begin + i)];
    needed[i] = std::min(needed[i + 1], std::max(first, source.begin));
  }
  int64_t ready = needed[0], tallest = 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t last = ranges[2 * (output.begin + i) + 1];
    ready = std::max(ready, std::min(last + 1, source.end));
    tallest = std::max(tallest, ready - needed[i]);
  }
  return {needed[0], tallest};
}

template <class T>
INTERNET_HD void prefetch_pixel(T* pixel, int64_t channels) {
  for (int64_t k = 0; k < channels; k += 64 / int64_t(sizeof(T))) {
    __builtin_prefetch(pixel + k, std::is_const_v<T> ? 0 : 1, 3);
  }
}

// Pixel-major rows of an image by their number: in place, or in the slots of a ring.
template <class T>
struct PixelRows {
  T* const* row;
  int64_t column_stride;

  // Asks for the four pixels of a sample. A field leads along a curve that no processor foresees. It has to
  // be inlined: gcc takes a function that only prefetches for one without effect, and drops calls of it.
  template <class Samples>
  INTERNET_MEMBER void prefetch(const Samples& s, int64_t x, int64_t channels) const {
    T *north = row[s.y_low[x]], *south = row[s.y_high[x]];
    const int64_t west = s.x_low[x] * column_stride, east = s.x_high[x] * column_stride;
    for (T* pixel : {north + west, north + east, south + west, south + east}) prefetch_pixel(pixel, channels);
  }
};

// How many samples earlier to ask: far enough for memory to answer, and no more than the first cache can
// hold.
template <class T>
INTERNET_HD int64_t samples_ahead(int64_t channels) {
  return std::max<int64_t>(2, 768 / (channels * int64_t(sizeof(T))));
}

}  // namespace internet::cpu::INTERNET_ISA
