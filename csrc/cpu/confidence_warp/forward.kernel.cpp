#include "cpu/confidence_warp/kernels.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/bilinear_row.h"
#include "cpu/sampling/pixel_rows.h"
#include "cpu/sampling/resident_rows.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

namespace {

// Output pixels begin..end-1 of a row, `channels` side by side, the first one at out. The source is
// prefetched `ahead` samples early, or not at all.
template <int N, class T>
INTERNET_HD void blend_pixels(const Samples<opmath<T>>& s, PixelRows<const T> source, int64_t begin,
                              int64_t end, int64_t channels, int64_t ahead, T* out, int64_t out_stride,
                              bool streaming) {
  using S = opmath<T>;
  constexpr int step = channels_in<N, T>;
  for (int64_t x = begin; x < end; ++x, out += out_stride) {
    if (ahead > 0) source.prefetch(s, std::min(x + ahead, end - 1), channels);
    if (!s.reads[x]) {
      for (int64_t k = 0; k < channels; ++k) out[k] = T{};
      continue;
    }
    const T *north = source.row[s.y_low[x]], *south = source.row[s.y_high[x]];
    const int64_t west = s.x_low[x] * source.column_stride, east = s.x_high[x] * source.column_stride;
    const S a = s.nw[x], b = s.ne[x], c = s.sw[x], d = s.se[x];
    const T *nw = north + west, *ne = north + east, *sw = south + west, *se = south + east;
    int64_t k = 0;
    for (; k + step <= channels; k += step) {
      const auto v_nw = load_channel_lanes<N>(nw + k), v_ne = load_channel_lanes<N>(ne + k);
      const auto v_sw = load_channel_lanes<N>(sw + k), v_se = load_channel_lanes<N>(se + k);
      ChannelLanes<N, T> sum;
#pragma GCC unroll 2
      for (int i = 0; i < sum.parts; ++i) {
        sum.part[i] = v_nw.part[i] * a + v_ne.part[i] * b + v_sw.part[i] * c + v_se.part[i] * d;
      }
      store_channel_lanes<N, T>(out + k, sum, streaming);
    }
    for (; k < channels; ++k) {
      out[k] = narrow<T>(widen(nw[k]) * a + widen(ne[k]) * b + widen(sw[k]) * c + widen(se[k]) * d);
    }
  }
}

template <int N, class T>
void warp_pixel_rows(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  const int64_t height = p.motion.height;
  BilinearRow<opmath<T>> samples(p.motion);
  Scratch<const T*> rows(height);
  for (int64_t task = begin, image = -1; task < end; ++task) {
    const int64_t y = task % height;
    if (image != task / height) {
      image = task / height;
      const T* first = p.features.data + image * p.features.stride[0];
      for (int64_t i = 0; i < height; ++i) rows[i] = first + i * p.features.stride[2];
    }
    samples.prepare(image, y);
    blend_pixels<N, T>(samples, {rows.data(), p.features.stride[3]}, 0, p.motion.width, p.channels,
                       2 * samples_ahead<T>(p.channels),
                       p.output.data + image * p.output.stride[0] + y * p.output.stride[2],
                       p.output.stride[3], p.streaming);
  }
  finish_streaming();
}

}  // namespace

template <class T>
void warp_pixels(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  constexpr int N = native_lanes<T>;
  if (N > 4 && p.channels < channels_in<N, T>) {
    warp_pixel_rows<4>(p, begin, end);
  } else {
    warp_pixel_rows<N>(p, begin, end);
  }
}

namespace {

// The output rows of a band, channels first_channel and on.
template <int K, class T>
void warp_block(const ConfidenceWarp<T>& p, BilinearRow<opmath<T>>& samples, int64_t image,
                int64_t first_channel, Band band) {
  using Tile = PlaneTile<K, T>;
  const int64_t height = p.motion.height, width = p.motion.width;
  const int64_t channels = std::min(p.block, p.channels - first_channel);
  constexpr int64_t padded = Tile::channels;
  // As measured: prefetching pixels of a ring costs more than it gains, but for those of 16 bits.
  const int64_t ahead = sizeof(T) == 2 ? samples_ahead<T>(padded) : 0;
  const T* in = p.features.data + image * p.features.stride[0] + first_channel * p.features.stride[1];
  T* out = p.output.data + image * p.output.stride[0] + first_channel * p.output.stride[1];
  const RowRange* ranges = p.row_ranges + image * height;
  ResidentRows resident;
  resident.plan(ranges + band.begin, band.end - band.begin, 0, int32_t(height));
  const int64_t slots = resident.tallest();
  Scratch<T> ring(slots * width * padded);
  Scratch<const T*> rows(height);
  T tile[Tile::pixels * padded];
  int64_t ready = resident.needed_from(0);
  for (int64_t y = band.begin; y < band.end; ++y) {
    samples.prepare(image, y);
    for (; ready <= ranges[y].last; ++ready) {
      T* row = ring.data() + ready % slots * width * padded;
      planes_to_pixels<K, T>(
          {in + ready * p.features.stride[2], p.features.stride[1], p.features.stride[3], width, channels},
          row, padded, ready + 1 < height ? p.features.stride[2] : 0);
      rows[ready] = row;
    }
    const ImageRow<T> target = {out + y * p.output.stride[2], p.output.stride[1], 1, width, channels};
    for_each_piece<Tile::pixels>(width, [&](int64_t x, int64_t, int64_t end) {
      blend_pixels<Tile::side, T>(samples, {rows.data(), padded}, x, end, padded, ahead, tile, padded, false);
      pixels_to_planes<K, T>(tile, padded, target.part(x, end - x), p.streaming);
    });
  }
}

template <int K, class T>
void warp_blocks(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  BilinearRow<opmath<T>> samples(p.motion);
  const int64_t blocks = (p.channels + p.block - 1) / p.block;
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    warp_block<K>(p, samples, task / p.bands / blocks, task / p.bands % blocks * p.block, band);
  }
  finish_streaming();
}

}  // namespace

template <class T>
void warp_planes(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  if (p.block == smallest_block<T>) {
    warp_blocks<4>(p, begin, end);
  } else {
    warp_blocks<16>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL(warp_pixels, ConfidenceWarp)
INTERNET_INSTANTIATE_KERNEL(warp_planes, ConfidenceWarp)

}  // namespace internet::cpu::INTERNET_ISA
