// Rows of pixels in which gradients are accumulated.
#pragma once

#include "cpu/simd/channel_blocks.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

// Writes a row of sums to a row of an image, rounded to its type. The sums' pixels are `padded` channels
// apart, in the order of the registers they were accumulated in (channel_lanes.h). `padded` is a multiple of
// PlaneTile<K, T>::channels, and at most usual_block<T> unless the row has as many neighbouring channels in
// memory.
template <int K, class T, class S = opmath<T>>
void store_sums(const S* sums, int64_t padded, const ImageRow<T>& row, bool streaming) {
  if constexpr (std::is_same_v<T, S>) {
    pixels_to_planes<K, T>(sums, padded, row, streaming);
  } else {
    constexpr int N = PlaneTile<K, T>::side, step = channels_in<N, T>, piece = 64;
    const bool dense = row.channels == padded && row.channel_stride == 1;
    alignas(64) T narrowed[piece * usual_block<T>];
    for_each_piece<piece>(row.width, [&](int64_t x, int64_t, int64_t end) {
      T* out = dense ? row.part(x, end - x).data : narrowed;
      const int64_t stride = dense ? row.column_stride : padded;
      for (int64_t i = x; i < end; ++i, out += stride) {
        for (int64_t k = 0; k < padded; k += step) {
          store_channel_lanes<N, T>(out + k, load_widened<N, T>(sums + i * padded + k), dense && streaming);
        }
      }
      if (!dense) pixels_to_planes<K, T>(narrowed, padded, row.part(x, end - x), streaming);
    });
  }
}

}  // namespace internet::cpu::INTERNET_ISA
