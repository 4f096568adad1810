#include "cpu/runtime/denormals.h"
#include "cpu/sampling/trilinear_row.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/nchw_nhwc.h"
#include "cpu/volume_warp/kernels.h"
#include "cpu/volume_warp/source_rows.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// Samples begin..end-1 of a row, `channels` side by side, the first one at out.
template <int N, class T>
INTERNET_HD void blend_voxels(const TrilinearRow<opmath<T>>& samples, PixelRows<const T> source,
                              int64_t begin, int64_t end, int64_t channels, T* out, int64_t out_stride) {
  using S = opmath<T>;
  constexpr int step = channels_in<N, T>, corners = TrilinearRow<S>::corners;
  for (int64_t x = begin; x < end; ++x, out += out_stride) {
    if (!samples.reads(x)) {
      for (int64_t k = 0; k < channels; ++k) out[k] = T{};
      continue;
    }
    const T* voxel[corners];
    S weight[corners];
    samples.voxels(x, source.row, source.column_stride, voxel);
    for (int c = 0; c < corners; ++c) weight[c] = samples.weight(c, x);
    int64_t k = 0;
    for (; k + step <= channels; k += step) {
      ChannelLanes<N, T> sum{};
#pragma GCC unroll 8
      for (int c = 0; c < corners; ++c) {
        const auto v = load_channel_lanes<N>(voxel[c] + k);
#pragma GCC unroll 2
        for (int i = 0; i < sum.parts; ++i) sum.part[i] += v.part[i] * weight[c];
      }
      store_channel_lanes<N, T>(out + k, sum);
    }
    for (; k < channels; ++k) {
      S sum = 0;
      for (int c = 0; c < corners; ++c) sum += widen(voxel[c][k]) * weight[c];
      out[k] = narrow<T>(sum);
    }
  }
}

// The output rows of a band, channels first_channel and on.
template <int K, class T>
void warp_block(const VolumeWarp<T>& p, TrilinearRow<opmath<T>>& samples, int64_t image,
                int64_t first_channel, Band band) {
  using Tile = PlaneTile<K, T>;
  const int64_t channels = std::min(p.block, p.channels - first_channel);
  const int64_t padded = p.in_place ? channels : Tile::channels;
  SourceRows<K, T> source(p.volume, p.samples.size, p.row_ranges + image * p.samples.rows(), band, image,
                          first_channel, channels, padded, p.in_place);
  T tile[Tile::pixels * Tile::channels];
  for (int64_t row = band.begin; row < band.end; ++row) {
    samples.prepare(image, row);
    source.need(row - band.begin);
    const ImageRow<T> out =
        volume_row(p.output, image, first_channel, channels, row, p.samples.height, p.samples.width);
    if (p.in_place) {
      blend_voxels<Tile::side, T>(samples, source.pixels(), 0, out.width, channels, out.data,
                                  out.column_stride);
      continue;
    }
    for_each_piece<Tile::pixels>(out.width, [&](int64_t x, int64_t, int64_t end) {
      blend_voxels<Tile::side, T>(samples, source.pixels(), x, end, padded, tile, padded);
      pixels_to_planes<K, T>(tile, padded, out.part(x, end - x));
    });
  }
}

template <int K, class T>
void warp_blocks(const VolumeWarp<T>& p, int64_t begin, int64_t end) {
  TrilinearRow<opmath<T>> samples(p.samples);
  const int64_t blocks = (p.channels + p.block - 1) / p.block;
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.samples.rows(), p.bands);
    warp_block<K>(p, samples, task / p.bands / blocks, task / p.bands % blocks * p.block, band);
  }
}

}  // namespace

template <class S>
void volume_row_ranges(const VolumeRowRanges<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  TrilinearRow<S> samples(p.samples);
  for (int64_t task = begin; task < end; ++task) {
    p.row_ranges[task] = samples.row_range(task / p.samples.rows(), task % p.samples.rows());
  }
}

template <class T>
void volume_warp(const VolumeWarp<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  if (in_fours(p)) {
    warp_blocks<4>(p, begin, end);
  } else {
    warp_blocks<16>(p, begin, end);
  }
}

template void volume_row_ranges<float>(const VolumeRowRanges<float>&, int64_t, int64_t);
template void volume_row_ranges<double>(const VolumeRowRanges<double>&, int64_t, int64_t);
INTERNET_INSTANTIATE_KERNEL(volume_warp, VolumeWarp)

}  // namespace internet::cpu::INTERNET_ISA
