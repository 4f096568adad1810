// Between pixels and vectors of pixels. A channels_last image keeps the channels of a pixel side by side; the
// mixture wants one channel of several neighbouring pixels in a register. Blocks of N x N are transposed in
// registers, N the lanes of a vector.
#pragma once

#include "plane_tiles.h"
#include "working_memory.h"

namespace internet::cpu::INTERNET_ISA {

// Channel k of pixel i, of N dense pixels of `channels` values each, into lane i of planes[k]. The last block
// of channels reads up to N - 1 values past each pixel: N - 1 values past the last one must be readable.
template <class T, int N = native_lanes<T>>
INTERNET_HD void load_channels(const T* pixels, int64_t channels, Vec<opmath<T>, N>* planes) {
  for (int64_t first = 0; first < channels; first += N) {
    Vec<opmath<T>, N> rows[N];
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) rows[i] = load<N>(pixels + i * channels + first);
    detail::transpose_from<1>(rows);
    int64_t count = std::min<int64_t>(N, channels - first);
    for (int64_t k = 0; k < count; ++k) planes[first + k] = rows[k];
  }
}

// The way back. Writes up to N - 1 values past the last pixel. The last block of channels comes first: what
// it writes past a pixel belongs to the next one's first channels, which are written after it.
template <class T, int N = native_lanes<T>>
INTERNET_HD void store_channels(const Vec<opmath<T>, N>* planes, int64_t channels, T* pixels) {
  for (int64_t first = (channels - 1) / N * N; first >= 0; first -= N) {
    Vec<opmath<T>, N> rows[N];
    int64_t count = std::min<int64_t>(N, channels - first);
#pragma GCC unroll 16
    for (int k = 0; k < N; ++k) rows[k] = planes[first + (k < count ? k : 0)];
    detail::transpose_from<1>(rows);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) store<N>(pixels + i * channels + first, rows[i]);
  }
}

}  // namespace internet::cpu::INTERNET_ISA
