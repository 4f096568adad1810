// Images of a few channels as vectors: four channels of a pixel in one register, whatever the layout.
//
// A bilinear sample of an RGB image in planes takes 12 scalar gathers; of pixels that are 4-vectors, 4 loads.
// So the rows of the image that are being sampled are kept, transposed, in a ring just long enough for the
// range of rows that the flow reads at a time. Gradients are scattered into such a ring, too.
//
// Channels after the fourth form further blocks of four. Lanes without a channel have unspecified values.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/runtime/isa.h"
#include "cpu/simd/image_row.h"
#include "cpu/simd/simd.h"
#include "cpu/simd/transpose.h"

namespace internet::cpu::INTERNET_ISA {

constexpr int pixel_lanes = 4;
template <class S>
using Pixel = Vec<S, pixel_lanes>;

// How the channels of a row lie in memory, and therefore how vectors are loaded from it.
enum class Layout { planes, pixels, strided };

template <class T, class F>
INTERNET_HD void with_layout(const ImageRow<T>& row, F f) {
  if (row.column_stride == 1) {
    f(std::integral_constant<Layout, Layout::planes>());
  } else if (row.channel_stride == 1 && row.column_stride + row.channels >= pixel_lanes) {
    f(std::integral_constant<Layout, Layout::pixels>());
  } else {
    f(std::integral_constant<Layout, Layout::strided>());
  }
}

// Four columns from x on, as four pixels or as four planes. `count` of them are wanted; the others repeat the
// last one, so that they hold valid numbers.
template <Layout L, bool as_planes, class T, class S = opmath<std::remove_const_t<T>>>
INTERNET_HD void load_group(const ImageRow<T>& row, int64_t x, int64_t count, Pixel<S> (&v)[4]) {
  if (L == Layout::planes && x + 4 <= row.width) {
    for (int c = 0; c < 4; ++c) {
      v[c] = load<4>(row.data + x + (c < row.channels ? c : 0) * row.channel_stride);
    }
    if (!as_planes) transpose(v);
  } else {
    // The load of a pixel may read into the next one, so there must be one.
    if (L == Layout::pixels && x + 4 < row.width) {
      for (int i = 0; i < 4; ++i) v[i] = load<4>(row.data + (x + i) * row.column_stride);
    } else {
      for (int i = 0; i < 4; ++i) {
        const T* p = row.data + (x + (i < count ? i : count - 1)) * row.column_stride;
        S lanes[4] = {};
        for (int c = 0; c < row.channels; ++c) lanes[c] = widen(p[c * row.channel_stride]);
        v[i] = load<4>(lanes);
      }
    }
    if (as_planes) transpose(v);
  }
}

// The reverse; only `count` columns are written.
template <Layout L, bool as_planes, class T, class S = opmath<T>>
INTERNET_HD void store_group(const ImageRow<T>& row, int64_t x, int64_t count, Pixel<S> (&v)[4]) {
  if (L == Layout::planes && count >= 4) {
    if (!as_planes) transpose(v);
    for (int c = 0; c < 4; ++c) {
      if (c < row.channels) store<4>(row.data + x + c * row.channel_stride, v[c]);
    }
    return;
  }
  if (as_planes) transpose(v);
  T* p = row.data + x * row.column_stride;
  if (L == Layout::pixels && count >= 4 && row.channels == 4) {
    for (int i = 0; i < 4; ++i) store<4>(p + i * row.column_stride, v[i]);
  } else if (L == Layout::pixels && count >= 4 && row.channels == 3 && row.column_stride == 3) {
    // RGB RGB RGB RGB are three vectors.
    store<4>(p, __builtin_shufflevector(v[0], v[1], 0, 1, 2, 4));
    store<4>(p + 4, __builtin_shufflevector(v[1], v[2], 1, 2, 4, 5));
    store<4>(p + 8, __builtin_shufflevector(v[2], v[3], 2, 4, 5, 6));
  } else {
    for (int i = 0; i < 4 && i < count; ++i, p += row.column_stride) {
      S lanes[4];
      store<4>(lanes, v[i]);
      for (int c = 0; c < row.channels; ++c) p[c * row.channel_stride] = narrow<T>(lanes[c]);
    }
  }
}

// A whole row to and from pixels, four columns at a time. `pixels` must have room for a full last group.
template <class T, class S>
inline void read_pixels(const ImageRow<const T>& row, S* pixels) {
  with_layout(row, [&](auto layout) {
    for (int64_t x = 0; x < row.width; x += 4) {
      Pixel<S> v[4];
      load_group<layout(), false>(row, x, row.width - x, v);
      for (int i = 0; i < 4; ++i) store<4>(pixels + 4 * (x + i), v[i]);
    }
  });
}
template <class T, class S>
inline void write_pixels(const ImageRow<T>& row, const S* pixels) {
  with_layout(row, [&](auto layout) {
    for (int64_t x = 0; x < row.width; x += 4) {
      Pixel<S> v[4];
      for (int i = 0; i < 4; ++i) v[i] = load<4>(pixels + 4 * (x + i));
      store_group<layout(), false>(row, x, row.width - x, v);
    }
  });
}

// `count` columns from x0 on, to and from planes that are `pitch` apart: a multiple of 4, and room for them.
template <class T, class S>
inline void read_planes(const ImageRow<const T>& row, int64_t x0, int64_t count, S* planes, int64_t pitch) {
  constexpr int N = native_lanes<S>;
  with_layout(row, [&](auto layout) {
    int64_t x = 0;
    for (; layout == Layout::planes && x + N <= count; x += N) {
      for (int c = 0; c < row.channels; ++c) {
        store<N>(planes + c * pitch + x, load<N>(row.data + x0 + x + c * row.channel_stride));
      }
    }
    for (; x < count; x += 4) {
      Pixel<S> v[4];
      load_group<layout(), true>(row, x0 + x, count - x, v);
      for (int c = 0; c < 4; ++c) store<4>(planes + c * pitch + x, v[c]);
    }
  });
}
template <class T, class S>
inline void write_planes(const ImageRow<T>& row, int64_t x0, int64_t count, const S* planes, int64_t pitch) {
  with_layout(row, [&](auto layout) {
    for (int64_t x = 0; x < count; x += 4) {
      Pixel<S> v[4];
      for (int c = 0; c < 4; ++c) v[c] = load<4>(planes + c * pitch + x);
      store_group<layout(), true>(row, x0 + x, count - x, v);
    }
  });
}

}  // namespace internet::cpu::INTERNET_ISA
