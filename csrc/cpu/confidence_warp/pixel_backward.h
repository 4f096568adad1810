// The backward pass of one output pixel of the warp, and of a run of pixels.
#pragma once

#include <cstring>

#include "cpu/sampling/bilinear_row.h"
#include "cpu/sampling/pixel_rows.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/four_sums.h"

namespace internet::cpu::INTERNET_ISA {

// The four pixels of a sample: pointers to their first channels.
template <class S>
struct Four {
  S *nw, *ne, *sw, *se;
};
template <class S>
INTERNET_HD Four<S> four(S* north, S* south, int64_t west, int64_t east) {
  return {north + west, north + east, south + west, south + east};
}

template <int N, class S>
INTERNET_HD void add_to(S* p, Vec<S, N> v) {
  store<N>(p, load<N>(p) + v);
}

// The samples of some output pixels, the source rows they read, and the gradient rows they add to.
template <class T>
struct SampledRows {
  Samples<opmath<T>> samples;
  const int32_t* pixels;  // of sorted samples: the output pixel of each; null: the pixels of a row
  PixelRows<const T> source;
  PixelRows<opmath<T>> target;
  Band band;         // the target rows; exactly one band owns a sample's corner dot products
  int64_t channels;  // side by side
  bool features, motion, first_block;
};

// One output pixel. `corner_dots` are added to, except for the first block of channels.
template <bool Features, bool Motion, int N, class T, class S = opmath<T>>
INTERNET_HD void pixel_backward(const T* g, Four<const T> from, Four<S> to, int64_t channels,
                                math::Corners<S> w, bool first_block, S* corner_dots) {
  constexpr int step = channels_in<N, T>;
  math::Corners<Vec<S, N>> sums{};
  math::Corners<S> rest{};
  int64_t k = 0;
  for (; k + step <= channels; k += step) {
    const auto v = load_channel_lanes<N>(g + k);
    if constexpr (Motion) {
      const auto nw = load_channel_lanes<N>(from.nw + k), ne = load_channel_lanes<N>(from.ne + k);
      const auto sw = load_channel_lanes<N>(from.sw + k), se = load_channel_lanes<N>(from.se + k);
#pragma GCC unroll 2
      for (int i = 0; i < v.parts; ++i) {
        sums.nw += v.part[i] * nw.part[i];
        sums.ne += v.part[i] * ne.part[i];
        sums.sw += v.part[i] * sw.part[i];
        sums.se += v.part[i] * se.part[i];
      }
    }
    if constexpr (Features) {
      // At the border some of the four are the same pixel, so each is stored before the next is read.
#pragma GCC unroll 2
      for (int i = 0; i < v.parts; ++i) {
        add_to<N, S>(to.nw + k + i * N, v.part[i] * w.nw);
        add_to<N, S>(to.ne + k + i * N, v.part[i] * w.ne);
        add_to<N, S>(to.sw + k + i * N, v.part[i] * w.sw);
        add_to<N, S>(to.se + k + i * N, v.part[i] * w.se);
      }
    }
  }
  for (; k < channels; ++k) {
    const S v = widen(g[k]);
    if constexpr (Motion) {
      rest.nw += v * widen(from.nw[k]);
      rest.ne += v * widen(from.ne[k]);
      rest.sw += v * widen(from.sw[k]);
      rest.se += v * widen(from.se[k]);
    }
    if constexpr (Features) {
      to.nw[k] += w.nw * v;
      to.ne[k] += w.ne * v;
      to.sw[k] += w.sw * v;
      to.se[k] += w.se * v;
    }
  }
  if constexpr (Motion) {
    Vec<S, 4> all = four_sums<S, N>(sums.nw, sums.ne, sums.sw, sums.se);
    all += Vec<S, 4>{rest.nw, rest.ne, rest.sw, rest.se};
    if (!first_block) all += load<4>(corner_dots);
    store<4>(corner_dots, all);
  }
}

// Samples begin..end-1, as far as they read a row of the band. Output pixel x has its gradient at g + (x -
// first) * g_stride and its corner dot products at corner_dots + 4 * x.
template <bool Sorted, int N, class T, class S = opmath<T>>
[[gnu::noinline]] void pixels_backward(const SampledRows<T>& rows, int64_t begin, int64_t end, const T* g,
                                       int64_t first, int64_t g_stride, S* corner_dots) {
  const Samples<S> s = rows.samples;
  const PixelRows<const T> source = rows.source;
  const PixelRows<S> target = rows.target;
  const Band band = rows.band;
  const int64_t channels = rows.channels, ahead = samples_ahead<S>(channels);
  const bool features = rows.features, motion = rows.motion, first_block = rows.first_block;
  const int32_t* pixels = rows.pixels;
  for (int64_t x = begin; x < end; ++x) {
    const int64_t y_low = s.y_low[x], y_high = s.y_high[x];
    const int64_t pixel = Sorted ? pixels[x] : x;
    // In output order the sample's own pixels are not prefetched: it costs more than it gains.
    if constexpr (Sorted) {
      const int64_t soon = pixels[std::min(x + ahead, end - 1)];
      prefetch<Cache::first>(g + (soon - first) * g_stride, channels);
      if (motion) prefetch<Cache::first>(corner_dots + 4 * soon, 4);
    }
    const bool own = motion && band.contains(y_low);
    if (!s.reads[x]) {
      if (own && first_block) store<4>(corner_dots + 4 * pixel, Vec<S, 4>{});
      continue;
    }
    const bool adds = features && y_high >= band.begin && y_low < band.end;
    const T* g_pixel = g + (pixel - first) * g_stride;
    const math::Corners<S> w = {s.nw[x], s.ne[x], s.sw[x], s.se[x]};
    Four<const T> from{};
    Four<S> to{};
    if (own) {
      from = four(source.row[y_low], source.row[y_high], s.x_low[x] * source.column_stride,
                  s.x_high[x] * source.column_stride);
    }
    if (adds) {
      to = four(target.row[y_low], target.row[y_high], s.x_low[x] * target.column_stride,
                s.x_high[x] * target.column_stride);
    }
    if (own && adds) {
      pixel_backward<true, true, N>(g_pixel, from, to, channels, w, first_block, corner_dots + 4 * pixel);
    } else if (adds) {
      pixel_backward<true, false, N>(g_pixel, from, to, channels, w, first_block, corner_dots + 4 * pixel);
    } else if (own) {
      pixel_backward<false, true, N>(g_pixel, from, to, channels, w, first_block, corner_dots + 4 * pixel);
    }
  }
}

}  // namespace internet::cpu::INTERNET_ISA
