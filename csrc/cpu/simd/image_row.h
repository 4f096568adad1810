// Some channels of an image row in memory, or of a part of the row.
#pragma once

#include "cpu/runtime/prefetch.h"

namespace internet::cpu {

template <class T>
struct ImageRow {
  T* data;
  int64_t channel_stride, column_stride;
  int64_t width, channels;

  INTERNET_MEMBER ImageRow part(int64_t x, int64_t count) const {
    return {data + x * column_stride, channel_stride, column_stride, count, channels};
  }
};

// Prefetches a part of a row into the second-level cache: rows are short, and hardware prefetching starts
// anew at each.
template <class T>
INTERNET_HD void prefetch(const ImageRow<T>& row, int64_t x, int64_t count) {
  const int64_t lines = row.column_stride == 1 ? row.channels : 1;
  for (int64_t c = 0; c < lines; ++c) {
    prefetch<Cache::second>(row.data + c * row.channel_stride + x * row.column_stride,
                            count * row.column_stride);
  }
}

}  // namespace internet::cpu
