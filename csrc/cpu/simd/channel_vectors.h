// Conversion between pixels and vectors of pixels. A channels_last image keeps the channels of a pixel side
// by side; the mixture needs one channel of several neighbouring pixels in a register. Four channels are done
// at a time: every fourth pixel goes into one register, and blocks of 4 x 4 are transposed in registers.
#pragma once

#include "cpu/simd/transpose.h"

namespace internet::cpu::INTERNET_ISA {
namespace detail {

// Four values from p on, four from p + stride on, and so on: N in all.
template <int N, class T>
INTERNET_HD Vec<opmath<T>, N> load_fours(const T* p, int64_t stride) {
  if constexpr (N == 4) {
    return load<4>(p);
  } else {
    return cpu::joined(load_fours<N / 2>(p, stride), load_fours<N / 2>(p + N / 8 * stride, stride));
  }
}

// Pixel 4 q + i is in rows[i], in the lanes from 4 q on. Stored in the order of the pixels, because a store
// may overlap the next pixel.
template <int first, class T, class V>
INTERNET_HD void store_fours(T* p, int64_t stride, const V (&rows)[4]) {
  if constexpr (first < math::Value<V>::lanes) {
    for (int i = 0; i < 4; ++i) {
      store<4>(p + i * stride, cpu::detail::lanes_from<first>(rows[i], std::make_integer_sequence<int, 4>{}));
    }
    store_fours<first + 4>(p + 4 * stride, stride, rows);
  }
}

}  // namespace detail

// Channel k of pixel i, of N dense pixels of `channels` values each, into lane i of planes[k]. The last block
// of channels reads up to 3 values past each pixel and fills its planes with them: 3 values past the last
// pixel must be readable, and planes up to a multiple of 4 writable.
template <class T, int N = native_lanes<T>>
INTERNET_HD void load_channels(const T* pixels, int64_t channels, Vec<opmath<T>, N>* planes) {
  for (int64_t first = 0; first < channels; first += 4) {
    Vec<opmath<T>, N> rows[4];
    for (int i = 0; i < 4; ++i) rows[i] = detail::load_fours<N>(pixels + i * channels + first, 4 * channels);
    transpose(rows);
    for (int k = 0; k < 4; ++k) planes[first + k] = rows[k];
  }
}

// The reverse. Writes up to 3 values past the last pixel. The last block of channels comes first: what it
// writes past a pixel lies in the next pixel's first channels, which are written after it.
template <class T, int N = native_lanes<T>>
INTERNET_HD void store_channels(const Vec<opmath<T>, N>* planes, int64_t channels, T* pixels) {
  for (int64_t first = (channels - 1) / 4 * 4; first >= 0; first -= 4) {
    Vec<opmath<T>, N> rows[4];
    const int64_t count = std::min<int64_t>(4, channels - first);
    for (int k = 0; k < 4; ++k) rows[k] = planes[first + (k < count ? k : 0)];
    transpose(rows);
    detail::store_fours<0>(pixels + first, channels, rows);
  }
}

}  // namespace internet::cpu::INTERNET_ISA
