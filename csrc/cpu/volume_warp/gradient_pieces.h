// A row of an incoming gradient as pixels.
#pragma once

#include "cpu/simd/channel_blocks.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

template <int K, class T>
class GradientPieces {
 public:
  // Calls f(begin, end, g, stride) for runs of columns that cover the row: the channels of column x,
  // zero-padded up to `padded`, are at g + (x - begin) * stride.
  template <class F>
  INTERNET_MEMBER void each(const ImageRow<const T>& row, int64_t padded, F f) {
    if (row.channels == padded && (padded == 1 || row.channel_stride == 1)) {
      return f(0, row.width, row.data, row.column_stride);
    }
    for_each_piece<piece>(row.width, [&](int64_t x, int64_t fresh, int64_t end) {
      planes_to_pixels<K, T>(row.part(x, end - x), pixels_, padded, 0);
      f(fresh, end, pixels_ + (fresh - x) * padded, padded);
    });
  }

 private:
  static constexpr int piece = 64;
  alignas(64) T pixels_[piece * usual_block<T>];
};

}  // namespace internet::cpu::INTERNET_ISA
