// Between planes and pixels. A contiguous (C,H,W) image keeps the channels of a pixel a plane apart; a
// bilinear sample wants them side by side. These functions turn K channels of a row of pixels into a
// pixel-major row (K consecutive values each) and back, N x N values at a time inside the registers.
#pragma once

#include <utility>

#include "isa.h"
#include "simd.h"

namespace internet::cpu::INTERNET_ISA {
namespace detail {

// One step of a transpose by butterflies: row i and row i + D swap the lanes that differ in bit D.
template <int D, bool Upper, class V, int... I>
INTERNET_HD V butterfly(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int N = sizeof...(I);
  if constexpr (Upper) {
    return __builtin_shufflevector(a, b, ((I & D) ? N + I : I + D)...);
  } else {
    return __builtin_shufflevector(a, b, ((I & D) ? N + I - D : I)...);
  }
}

template <int D, class V, size_t N>
INTERNET_HD void transpose_from(V (&rows)[N]) {
  if constexpr (D < int(N)) {
    constexpr auto lanes = std::make_integer_sequence<int, int(N)>();
#pragma GCC unroll 16
    for (int i = 0; i < int(N); ++i) {
      if (i & D) continue;
      const V a = rows[i], b = rows[i + D];
      rows[i] = butterfly<D, false>(a, b, lanes);
      rows[i + D] = butterfly<D, true>(a, b, lanes);
    }
    transpose_from<D * 2>(rows);
  }
}

// Side of a register tile for blocks of K channels.
template <class T, int K>
constexpr int tile = native_lanes<T> < K ? native_lanes<T> : K;

}  // namespace detail

// Calls tile(x) for tiles of N consecutive pixels that cover 0..count-1, and returns true; false if there are
// fewer than N. Pixel 0 is column `column` of its row: tiles start at multiples of N from the row's start,
// whole cache lines if the row is aligned, but for the first and the last, which may overlap their
// neighbours.
template <int N, class Tile>
INTERNET_HD bool for_each_tile(int64_t column, int64_t count, Tile tile) {
  if (count < N) return false;
  const int64_t ahead = column % N;
  if (ahead != 0) tile(0);
  int64_t x = ahead != 0 ? N - ahead : 0;
  for (; x + N <= count; x += N) tile(x);
  if (x < count) tile(count - N);
  return true;
}

// pixels[x * K + k] = channel k of pixel x, for x < count; channels from `channels` (1..K) on are zero.
template <int K, class T>
INTERNET_HD void planes_to_pixels(const T* planes, int64_t channel_stride, int64_t column_stride,
                                  int64_t channels, int64_t count, opmath<T>* pixels) {
  using S = opmath<T>;
  constexpr int N = detail::tile<T, K>;
  using V = Vec<S, N>;
  auto tile = [&](int64_t x) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int first = 0; first < K; first += N) {
      V rows[N];
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        rows[i] = first + i < channels ? load<N>(planes + (first + i) * channel_stride + x) : V{};
      }
      detail::transpose_from<1>(rows);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) store<N>(pixels + (x + i) * K + first, rows[i]);
    }
  };
  if (column_stride == 1 && for_each_tile<N>(0, count, tile)) return;
  if (channel_stride == 1 && channels == K) {
    for (int64_t x = 0; x < count; ++x) store<K>(pixels + x * K, load<K>(planes + x * column_stride));
    return;
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t k = 0; k < K; ++k) {
      pixels[x * K + k] = k < channels ? widen(planes[k * channel_stride + x * column_stride]) : S(0);
    }
  }
}

// The way back, for the first `channels` channels; pixel 0 is column `column` of its row.
template <int K, class T>
INTERNET_HD void pixels_to_planes(const opmath<T>* pixels, int64_t count, int64_t channels, T* planes,
                                  int64_t channel_stride, int64_t column_stride, int64_t column) {
  using S = opmath<T>;
  constexpr int N = detail::tile<T, K>;
  using V = Vec<S, N>;
  auto tile = [&](int64_t x) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int first = 0; first < K; first += N) {
      V rows[N];
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) rows[i] = load<N>(pixels + (x + i) * K + first);
      detail::transpose_from<1>(rows);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        if (first + i < channels) store<N>(planes + (first + i) * channel_stride + x, rows[i]);
      }
    }
  };
  if (column_stride == 1 && for_each_tile<N>(column, count, tile)) return;
  if (channel_stride == 1 && channels == K) {
    for (int64_t x = 0; x < count; ++x) store<K>(planes + x * column_stride, load<K>(pixels + x * K));
    return;
  }
  for (int64_t x = 0; x < count; ++x) {
    for (int64_t k = 0; k < channels; ++k) {
      planes[k * channel_stride + x * column_stride] = narrow<T>(pixels[x * K + k]);
    }
  }
}

}  // namespace internet::cpu::INTERNET_ISA
