#include "cpu/confidence_warp/kernels.h"
#include "cpu/confidence_warp/windowed_band.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/bilinear_row.h"
#include "cpu/sampling/pixel_rows.h"
#include "cpu/sampling/resident_rows.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

namespace {

// The blend of some output pixels: the first one's channels, side by side, the distance to the next pixel's,
// and the confidence of the row.
template <class T>
struct BlendPixels {
  const T* first;
  int64_t stride;
  const opmath<T>* confidence;
};

// Output pixels begin..end-1 of a row, `channels` side by side, the first one at out. The source is
// prefetched `ahead` samples early, or not at all.
template <int N, bool blended, class T>
INTERNET_HD void sample_pixels(const Samples<opmath<T>>& s, PixelRows<const T> source, BlendPixels<T> blend,
                               int64_t begin, int64_t end, int64_t channels, int64_t ahead, T* out,
                               int64_t out_stride, bool streaming) {
  using S = opmath<T>;
  constexpr int step = channels_in<N, T>;
  const T* added = blend.first;
  for (int64_t x = begin; x < end; ++x, out += out_stride, added += blended ? blend.stride : 0) {
    if (ahead > 0) source.prefetch(s, std::min(x + ahead, end - 1), channels);
    const S rest = blended ? 1 - blend.confidence[x] : S(0);
    if (!s.reads[x]) {
      for (int64_t k = 0; k < channels; ++k) out[k] = blended ? narrow<T>(widen(added[k]) * rest) : T{};
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
      if constexpr (blended) {
        const auto v_added = load_channel_lanes<N>(added + k);
#pragma GCC unroll 2
        for (int i = 0; i < sum.parts; ++i) sum.part[i] += v_added.part[i] * rest;
      }
      store_channel_lanes<N, T>(out + k, sum, streaming);
    }
    for (; k < channels; ++k) {
      S sum = widen(nw[k]) * a + widen(ne[k]) * b + widen(sw[k]) * c + widen(se[k]) * d;
      if constexpr (blended) sum += widen(added[k]) * rest;
      out[k] = narrow<T>(sum);
    }
  }
}

// A row of an image as pixels: in place if its channels are side by side, and otherwise copied.
template <int K, class T>
class PixelRow {
 public:
  PixelRow(const Strided<const T, 4>& image, int64_t channels, int64_t width)
      : image_(image),
        channels_(channels),
        width_(width),
        in_place_(channels == 1 || image.stride[1] == 1),
        stride_(in_place_ ? image.stride[3] : (channels + tile - 1) / tile * tile),
        copy_(in_place_ ? 0 : width * stride_) {}

  const T* at(int64_t image, int64_t y) {
    const T* row = image_.data + image * image_.stride[0] + y * image_.stride[2];
    if (in_place_) return row;
    planes_to_pixels<K, T>({row, image_.stride[1], image_.stride[3], width_, channels_}, copy_.data(),
                           stride_, 0);
    return copy_.data();
  }
  int64_t stride() const { return stride_; }

 private:
  static constexpr int64_t tile = PlaneTile<K, T>::channels;

  const Strided<const T, 4>& image_;
  int64_t channels_, width_;
  bool in_place_;
  int64_t stride_;
  Scratch<T> copy_;
};

template <int N, bool blended, class T>
void warp_pixel_rows(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  const int64_t height = p.motion.height;
  BilinearRow<opmath<T>> samples(p.motion);
  Scratch<const T*> rows(height);
  PixelRow<4, T> blend(p.blend, blended ? p.channels : 1, p.motion.width);
  for (int64_t task = begin, image = -1; task < end; ++task) {
    const int64_t y = task % height;
    if (image != task / height) {
      image = task / height;
      const T* first = p.features.data + image * p.features.stride[0];
      for (int64_t i = 0; i < height; ++i) rows[i] = first + i * p.features.stride[2];
    }
    samples.prepare(image, y);
    const T* added = blended ? blend.at(image, y) : nullptr;
    sample_pixels<N, blended, T>(
        samples, {rows.data(), p.features.stride[3]}, {added, blend.stride(), samples.confidence()}, 0,
        p.motion.width, p.channels, 2 * samples_ahead<T>(p.channels),
        p.output.data + image * p.output.stride[0] + y * p.output.stride[2], p.output.stride[3], p.streaming);
  }
  finish_streaming();
}

}  // namespace

template <class T>
void warp_pixels(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  constexpr int N = native_lanes<T>;
  const bool blended = p.blend.data != nullptr;
  if (N > 4 && p.channels < channels_in<N, T>) {
    blended ? warp_pixel_rows<4, true>(p, begin, end) : warp_pixel_rows<4, false>(p, begin, end);
  } else {
    blended ? warp_pixel_rows<N, true>(p, begin, end) : warp_pixel_rows<N, false>(p, begin, end);
  }
}

namespace {

// Writes a tile of warped pixels to planes, adding to each its part of the blend, which is read as it lies in
// memory. The next row of each plane is prefetched.
template <int K, class T>
INTERNET_HD void blend_planes(const T* warped, ImageRow<const T> blend, int64_t next_row, const T* confidence,
                              ImageRow<T> out, bool streaming) {
  constexpr int N = PlaneTile<K, T>::side;
  const Vec<T, N> rest = T(1) - load<N>(confidence);
  for (int first = 0; first < K; first += N) {
    Vec<T, N> planes[N];
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) planes[i] = load<N>(warped + i * K + first);
    transpose(planes);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) {
      if (first + i >= out.channels) continue;
      const T* added = blend.data + (first + i) * blend.channel_stride;
      __builtin_prefetch(added + next_row, 0, 2);
      store_line(out.data + (first + i) * out.channel_stride, Vec<T, N>(planes[i] + load<N>(added) * rest),
                 streaming);
    }
  }
}

// The output rows of a band, from first_channel on.
template <int K, bool blended, class T>
void warp_block(const ConfidenceWarp<T>& p, BilinearRow<opmath<T>>& samples, int64_t image,
                int64_t first_channel, Band band) {
  using Tile = PlaneTile<K, T>;
  const int64_t height = p.motion.height, width = p.motion.width;
  const int64_t channels = std::min(p.block, p.channels - first_channel);
  constexpr int64_t padded = Tile::channels;
  // Measured: prefetching a ring's pixels costs more than it gains, except for 16-bit types.
  const int64_t ahead = sizeof(T) == 2 ? samples_ahead<T>(padded) : 0;
  const T* in = p.features.data + image * p.features.stride[0] + first_channel * p.features.stride[1];
  const T* blend_of_block = p.blend.data + image * p.blend.stride[0] + first_channel * p.blend.stride[1];
  T* out = p.output.data + image * p.output.stride[0] + first_channel * p.output.stride[1];
  const RowRange* ranges = p.row_ranges + image * height;
  ResidentRows resident;
  resident.plan(ranges + band.begin, band.end - band.begin, 0, int32_t(height));
  const int64_t slots = resident.tallest();
  Scratch<T> ring(slots * width * padded);
  Scratch<const T*> rows(height);
  T tile[Tile::pixels * padded], added[blended ? Tile::pixels * padded : 1];
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
    const ImageRow<const T> blend = {blend_of_block + y * p.blend.stride[2], p.blend.stride[1],
                                     p.blend.stride[3], width, channels};
    for_each_piece<Tile::pixels>(width, [&](int64_t x, int64_t, int64_t end) {
      if constexpr (blended && std::is_same_v<T, opmath<T>>) {
        if (blend.column_stride == 1 && end - x == Tile::pixels) {
          sample_pixels<Tile::side, false, T>(samples, {rows.data(), padded}, {}, x, end, padded, ahead, tile,
                                              padded, false);
          return blend_planes<K, T>(tile, blend.part(x, end - x), p.blend.stride[2], samples.confidence() + x,
                                    target.part(x, end - x), p.streaming);
        }
      }
      if constexpr (blended) planes_to_pixels<K, T>(blend.part(x, end - x), added, padded, p.blend.stride[2]);
      sample_pixels<Tile::side, blended, T>(samples, {rows.data(), padded},
                                            {added, padded, samples.confidence()}, x, end, padded, ahead,
                                            tile, padded, false);
      pixels_to_planes<K, T>(tile, padded, target.part(x, end - x), p.streaming);
    });
  }
}

template <int K, bool blended, class T>
void warp_blocks(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  BilinearRow<opmath<T>> samples(p.motion);
  const int64_t blocks = (p.channels + p.block - 1) / p.block;
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    warp_block<K, blended>(p, samples, task / p.bands / blocks, task / p.bands % blocks * p.block, band);
  }
  finish_streaming();
}

// The same tasks, those of a band one after another, so that its windows are found once.
template <bool blended, class T>
void warp_windows(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  BilinearRow<T> samples(p.motion);
  WindowedBand<blended, T> windows(p, samples);
  const int64_t blocks = (p.channels + p.block - 1) / p.block;
  bool fit = false;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / blocks / p.bands, channel = task % blocks * p.block;
    const Band band = band_of(task / blocks % p.bands, p.motion.height, p.bands);
    if (task == begin || channel == 0) fit = windows.cover(image, band);
    if (fit) {
      windows.warp(channel, std::min(channel + p.block, p.channels));
    } else {
      warp_block<16, blended>(p, samples, image, channel, band);
    }
  }
  finish_streaming();
}

}  // namespace

template <class T>
void warp_planes(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const bool blended = p.blend.data != nullptr;
  if constexpr (permuted_lanes<T> > 0) {
    if (p.windows && p.motion.width >= permuted_lanes<T>) {
      return blended ? warp_windows<true>(p, begin, end) : warp_windows<false>(p, begin, end);
    }
  }
  if (p.block == smallest_block<T>) {
    blended ? warp_blocks<4, true>(p, begin, end) : warp_blocks<4, false>(p, begin, end);
  } else {
    blended ? warp_blocks<16, true>(p, begin, end) : warp_blocks<16, false>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL(warp_pixels, ConfidenceWarp)
INTERNET_INSTANTIATE_KERNEL(warp_planes, ConfidenceWarp)

}  // namespace internet::cpu::INTERNET_ISA
