// Conversion between planes (NCHW) and pixels (NHWC). A contiguous (C,H,W) image has the channels of a pixel
// a plane apart; bilinear sampling wants them side by side. These functions convert some channels of a row to
// pixel-major order and back, N x N words at a time in registers.
//
// Values are moved, not converted. A word is a value, or two of a 16-bit type: a register of such a plane
// then holds pairs of pixels, and a step before and after the transpose converts pairs of planes to pairs of
// channels.
#pragma once

#include <utility>

#include "cpu/runtime/isa.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/image_row.h"
#include "cpu/simd/simd.h"
#include "cpu/simd/transpose.h"

namespace internet::cpu::INTERNET_ISA {
namespace detail {

template <class T>
using Word = std::conditional_t<sizeof(T) == 2, uint32_t, T>;

template <int N, class T>
INTERNET_HD Vec<Word<T>, N> load_words(const T* p) {
  Vec<Word<T>, N> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

}  // namespace detail

// The size of a tile: `pixels` columns of `channels` planes. A pixel of the tile has K words.
template <int K, class T>
struct PlaneTile {
  static constexpr int side = native_lanes<T> < K ? native_lanes<T> : K;
  static constexpr int per_word = int(sizeof(detail::Word<T>) / sizeof(T));
  static constexpr int pixels = side * per_word, channels = K * per_word;
};

// Calls piece(x, fresh, end) for pieces x..end-1 that cover a row: tiles of N columns that start at multiples
// of N, and at the end one that may overlap its neighbour, so that its columns before `fresh` have been
// processed already. A piece has fewer columns only if the row is shorter than N.
template <int N, class Piece>
INTERNET_HD void for_each_piece(int64_t width, Piece piece) {
  for (int64_t fresh = 0; fresh < width; fresh += N) {
    const int64_t x = std::max<int64_t>(std::min(fresh, width - N), 0);
    piece(x, fresh, std::min(x + N, width));
  }
}

namespace detail {

template <int K, class T>
INTERNET_HD void load_tile(ImageRow<const T> row, T* pixels, int64_t pixel_stride) {
  using Tile = PlaneTile<K, T>;
  constexpr int N = Tile::side;
  using V = Vec<Word<T>, N>;
  auto plane = [&](int64_t k) __attribute__((always_inline)) {
    return k < row.channels ? load_words<N>(row.data + k * row.channel_stride) : V{};
  };
#pragma GCC unroll 4
  for (int first = 0; first < K; first += N) {
#pragma GCC unroll 2
    for (int parity = 0; parity < Tile::per_word; ++parity) {
      V words[N];
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        if constexpr (Tile::per_word == 1) {
          words[i] = plane(first + i);
        } else {
          const V a = plane(2 * (first + i)), b = plane(2 * (first + i) + 1);
          words[i] = parity == 0 ? (a & 0xffffu) | (b << 16) : (a >> 16) | (b & 0xffff0000u);
        }
      }
      transpose(words);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        T* p = pixels + (i * Tile::per_word + parity) * pixel_stride + first * Tile::per_word;
        std::memcpy(p, &words[i], sizeof(V));
      }
    }
  }
}

template <int K, class T>
INTERNET_HD void store_tile(const T* pixels, int64_t pixel_stride, ImageRow<T> row, bool streaming) {
  using Tile = PlaneTile<K, T>;
  constexpr int N = Tile::side;
  using V = Vec<Word<T>, N>;
  auto store_plane = [&](int64_t k, V v) __attribute__((always_inline)) {
    if (k < row.channels) store_line(row.data + k * row.channel_stride, v, streaming);
  };
#pragma GCC unroll 4
  for (int first = 0; first < K; first += N) {
    V words[Tile::per_word][N];
#pragma GCC unroll 2
    for (int parity = 0; parity < Tile::per_word; ++parity) {
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        words[parity][i] =
            load_words<N>(pixels + (i * Tile::per_word + parity) * pixel_stride + first * Tile::per_word);
      }
      transpose(words[parity]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) {
      if constexpr (Tile::per_word == 1) {
        store_plane(first + i, words[0][i]);
      } else {
        const V a = words[0][i], b = words[1][i];
        store_plane(2 * (first + i), (a & 0xffffu) | (b << 16));
        store_plane(2 * (first + i) + 1, (a >> 16) | (b & 0xffff0000u));
      }
    }
  }
}

}  // namespace detail

// Channel k of column x into pixels[x * pixel_stride + k], for x < row.width. Channels beyond the row's, up
// to pixel_stride, which is a multiple of PlaneTile<K, T>::channels, are set to zero. What lies `ahead` in
// each plane is prefetched: there are more planes than the hardware prefetchers follow.
template <int K, class T>
[[gnu::noinline]] void planes_to_pixels(ImageRow<const T> row, T* pixels, int64_t pixel_stride,
                                        int64_t ahead) {
  using Tile = PlaneTile<K, T>;
  if (row.column_stride != 1 || row.width < Tile::pixels) {
    for (int64_t x = 0; x < row.width; ++x) {
      for (int64_t k = 0; k < pixel_stride; ++k) {
        pixels[x * pixel_stride + k] =
            k < row.channels ? row.data[k * row.channel_stride + x * row.column_stride] : T{};
      }
    }
    return;
  }
  for_each_piece<Tile::pixels>(row.width, [&](int64_t x, int64_t, int64_t) __attribute__((always_inline)) {
    ImageRow<const T> part = row.part(x, Tile::pixels);
    for (int64_t k = 0; ahead != 0 && k < row.channels; ++k) {
      __builtin_prefetch(part.data + k * row.channel_stride + ahead, 0, 2);
    }
    for (int64_t k = 0; k < pixel_stride; k += Tile::channels) {
      detail::load_tile<K, T>(part, pixels + x * pixel_stride + k, pixel_stride);
      part.data += Tile::channels * row.channel_stride;
      part.channels -= Tile::channels;
    }
  });
}

// The reverse. `streaming` requires the row's start and its planes to be on cache lines.
template <int K, class T>
[[gnu::noinline]] void pixels_to_planes(const T* pixels, int64_t pixel_stride, ImageRow<T> row,
                                        bool streaming = false) {
  using Tile = PlaneTile<K, T>;
  if (row.column_stride != 1 || row.width < Tile::pixels) {
    for (int64_t x = 0; x < row.width; ++x) {
      for (int64_t k = 0; k < row.channels; ++k) {
        row.data[k * row.channel_stride + x * row.column_stride] = pixels[x * pixel_stride + k];
      }
    }
    return;
  }
  for_each_piece<Tile::pixels>(row.width, [&](int64_t x, int64_t, int64_t) __attribute__((always_inline)) {
    ImageRow<T> part = row.part(x, Tile::pixels);
    for (int64_t k = 0; k < pixel_stride; k += Tile::channels) {
      detail::store_tile<K, T>(pixels + x * pixel_stride + k, pixel_stride, part, streaming);
      part.data += Tile::channels * row.channel_stride;
      part.channels -= Tile::channels;
    }
  });
}

// These functions are long, so they are compiled once, in nchw_nhwc.kernel.cpp.
#define INTERNET_NCHW_NHWC(declare, K, T)                                                \
  declare template void planes_to_pixels<K, T>(ImageRow<const T>, T*, int64_t, int64_t); \
  declare template void pixels_to_planes<K, T>(const T*, int64_t, ImageRow<T>, bool);
#define INTERNET_ALL_NCHW_NHWC(declare)     \
  INTERNET_NCHW_NHWC(declare, 4, float)     \
  INTERNET_NCHW_NHWC(declare, 4, double)    \
  INTERNET_NCHW_NHWC(declare, 4, BFloat16)  \
  INTERNET_NCHW_NHWC(declare, 4, Half)      \
  INTERNET_NCHW_NHWC(declare, 16, float)    \
  INTERNET_NCHW_NHWC(declare, 16, double)   \
  INTERNET_NCHW_NHWC(declare, 16, BFloat16) \
  INTERNET_NCHW_NHWC(declare, 16, Half)

INTERNET_ALL_NCHW_NHWC(extern)

}  // namespace internet::cpu::INTERNET_ISA
