#include <cstring>

#include "cpu/runtime/denormals.h"
#include "cpu/sampling/trilinear_row.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/four_sums.h"
#include "cpu/simd/pixel_sums.h"
#include "cpu/volume_warp/gradient_pieces.h"
#include "cpu/volume_warp/kernels.h"
#include "cpu/volume_warp/source_rows.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// The dot products of samples begin..end-1: of their gradients, which begin at g, with each of the eight
// voxels.
template <int N, class T>
INTERNET_HD void corner_dots(const TrilinearRow<opmath<T>>& samples, PixelRows<const T> source, int64_t begin,
                             int64_t end, int64_t channels, const T* g, int64_t g_stride, opmath<T>* dots) {
  using S = opmath<T>;
  constexpr int step = channels_in<N, T>, corners = TrilinearRow<S>::corners;
  for (int64_t x = begin; x < end; ++x, g += g_stride) {
    S* out = dots + corners * x;
    if (!samples.reads(x)) {
      for (int c = 0; c < corners; ++c) out[c] = 0;
      continue;
    }
    const T* voxel[corners];
    samples.voxels(x, source.row, source.column_stride, voxel);
    Vec<S, N> sum[corners] = {};
    S rest[corners] = {};
    int64_t k = 0;
    for (; k + step <= channels; k += step) {
      const auto gradient = load_channel_lanes<N>(g + k);
#pragma GCC unroll 8
      for (int c = 0; c < corners; ++c) {
        const auto v = load_channel_lanes<N>(voxel[c] + k);
#pragma GCC unroll 2
        for (int i = 0; i < v.parts; ++i) sum[c] += gradient.part[i] * v.part[i];
      }
    }
    for (; k < channels; ++k) {
      for (int c = 0; c < corners; ++c) rest[c] += widen(g[k]) * widen(voxel[c][k]);
    }
    for (int c = 0; c < corners; c += 4) {
      store<4>(out + c,
               Vec<S, 4>(four_sums<S, N>(sum[c], sum[c + 1], sum[c + 2], sum[c + 3]) + load<4>(rest + c)));
    }
  }
}

// The output rows of a band, all channels, block after block: each block adds its part to the gradients.
template <int K, class T>
void motion_band(const VolumeMotionBackward<T>& p, TrilinearRow<opmath<T>>& samples, opmath<T>* dots,
                 int64_t image, Band band) {
  using Tile = PlaneTile<K, T>;
  const int64_t width = p.samples.width, height = p.samples.height, rows = p.samples.rows();
  GradientPieces<K, T> pieces;
  for (int64_t first = 0; first < p.channels; first += p.block) {
    const int64_t channels = std::min(p.block, p.channels - first);
    const int64_t padded = p.in_place ? channels : Tile::channels;
    SourceRows<K, T> source(p.volume, p.samples.size, p.row_ranges + image * rows, band, image, first,
                            channels, padded, p.in_place);
    for (int64_t row = band.begin; row < band.end; ++row) {
      samples.prepare(image, row);
      source.need(row - band.begin);
      pieces.each(volume_row(p.grad_output, image, first, channels, row, height, width), padded,
                  [&](int64_t begin, int64_t end, const T* g, int64_t stride) {
                    corner_dots<Tile::side, T>(samples, source.pixels(), begin, end, padded, g, stride, dots);
                  });
      const int64_t at = (image * rows + row) * width;
      samples.motion_gradients(dots, first == 0, p.grad_field + 3 * at,
                               p.grad_confidence == nullptr ? nullptr : p.grad_confidence + at);
    }
  }
}

template <int K, class T>
void motion_bands(const VolumeMotionBackward<T>& p, int64_t begin, int64_t end) {
  TrilinearRow<opmath<T>> samples(p.samples);
  Scratch<opmath<T>> dots(TrilinearRow<opmath<T>>::corners * p.samples.width);
  for (int64_t task = begin; task < end; ++task) {
    motion_band<K>(p, samples, dots.data(), task / p.bands,
                   band_of(task % p.bands, p.samples.rows(), p.bands));
  }
}

// Adds the gradients of samples begin..end-1, which begin at g, to their voxels. A dummy row stands in for
// the rows of other tasks.
template <int N, class T>
INTERNET_HD void scatter_voxels(const TrilinearRow<opmath<T>>& samples, opmath<T>* const* rows,
                                int64_t column_stride, Band band, int64_t begin, int64_t end,
                                int64_t channels, const T* g, int64_t g_stride) {
  using S = opmath<T>;
  constexpr int step = channels_in<N, T>, corners = TrilinearRow<S>::corners;
  for (int64_t x = begin; x < end; ++x, g += g_stride) {
    if (!samples.reads(x) || samples.last_row(x) < band.begin || samples.first_row(x) >= band.end) continue;
    S *voxel[corners], weight[corners];
    samples.voxels(x, rows, column_stride, voxel);
    for (int c = 0; c < corners; ++c) weight[c] = samples.weight(c, x);
    int64_t k = 0;
    for (; k + step <= channels; k += step) {
      const auto gradient = load_channel_lanes<N>(g + k);
#pragma GCC unroll 2
      for (int i = 0; i < gradient.parts; ++i) {
        // At the border some of the eight are the same voxel, so each is stored before the next is read.
#pragma GCC unroll 8
        for (int c = 0; c < corners; ++c) {
          S* sum = voxel[c] + k + i * N;
          store<N>(sum, Vec<S, N>(load<N>(sum) + gradient.part[i] * weight[c]));
        }
      }
    }
    for (; k < channels; ++k) {
      for (int c = 0; c < corners; ++c) voxel[c][k] += weight[c] * widen(g[k]);
    }
  }
}

// The rows of a band of the volume's gradient, for a block of channels: accumulated in place, or in a ring of
// the rows that are resident.
template <int K, class T>
class BandBackward {
  using S = opmath<T>;
  using Tile = PlaneTile<K, T>;

 public:
  BandBackward(const VolumeBackward<T>& p, int64_t image, int64_t first_channel, Band band)
      : p_(p),
        image_(image),
        first_channel_(first_channel),
        channels_(std::min(p.block, p.channels - first_channel)),
        padded_(p.in_place ? channels_ : Tile::channels),
        width_(p.samples.size[0]),
        band_(band),
        ranges_(p.row_ranges + image * p.samples.rows()),
        slots_(resident_rows()),
        ring_(p.in_place ? 0 : slots_ * width_ * padded_),
        elsewhere_(width_ * padded_),
        rows_(p.samples.size[1] * p.samples.size[2]) {
    for (int64_t row = 0; row < p.samples.size[1] * p.samples.size[2]; ++row) rows_[row] = elsewhere_.data();
    std::memset(elsewhere_.data(), 0, size_t(width_ * padded_) * sizeof(S));
  }

  void run(TrilinearRow<S>& samples, GradientPieces<K, T>& pieces) {
    const int64_t height = p_.samples.height, width = p_.samples.width;
    for (int64_t row = 0; row < p_.samples.rows(); ++row) {
      if (ranges_[row].first >= band_.end || ranges_[row].last < band_.begin) continue;
      samples.prepare(image_, row);
      open_until(std::min<int64_t>(ranges_[row].last + 1, band_.end));
      pieces.each(volume_row(p_.grad_output, image_, first_channel_, channels_, row, height, width), padded_,
                  [&](int64_t begin, int64_t end, const T* g, int64_t stride) {
                    scatter_voxels<Tile::side, T>(samples, rows_.data(), padded_, band_, begin, end, padded_,
                                                  g, stride);
                  });
    }
    open_until(band_.end);
    while (closed_ < opened_) close(closed_++);
  }

 private:
  int64_t resident_rows() const {
    ResidentRows rows;
    rows.plan(ranges_, p_.samples.rows(), int32_t(band_.begin), int32_t(band_.end));
    return rows.tallest();
  }
  ImageRow<T> gradient_row(int64_t row) const {
    return volume_row(p_.grad_volume, image_, first_channel_, channels_, row, p_.samples.size[1], width_);
  }

  void open_until(int64_t end) {
    for (; opened_ < end; ++opened_) {
      if (opened_ - closed_ == slots_) close(closed_++);
      S* sums = ring_.data() + opened_ % slots_ * width_ * padded_;
      if constexpr (std::is_same_v<T, S>) {
        if (p_.in_place) sums = gradient_row(opened_).data;
      }
      std::memset(sums, 0, size_t(width_ * padded_) * sizeof(S));
      rows_[opened_] = sums;
    }
  }
  void close(int64_t row) {
    if (!p_.in_place) store_sums<K, T>(rows_[row], padded_, gradient_row(row), false);
    rows_[row] = elsewhere_.data();
  }

  const VolumeBackward<T>& p_;
  const int64_t image_, first_channel_, channels_, padded_, width_;
  const Band band_;
  const RowRange* ranges_;
  int64_t opened_ = band_.begin, closed_ = band_.begin;
  const int64_t slots_;
  Scratch<S> ring_, elsewhere_;
  Scratch<S*> rows_;
};

template <int K, class T>
void volume_bands(const VolumeBackward<T>& p, int64_t begin, int64_t end) {
  TrilinearRow<opmath<T>> samples(p.samples);
  GradientPieces<K, T> pieces;
  const int64_t blocks = (p.channels + p.block - 1) / p.block, rows = p.samples.size[1] * p.samples.size[2];
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, rows, p.bands);
    BandBackward<K, T>(p, task / p.bands / blocks, task / p.bands % blocks * p.block, band)
        .run(samples, pieces);
  }
}

}  // namespace

template <class T>
void volume_motion_backward(const VolumeMotionBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  if (in_fours(p)) {
    motion_bands<4>(p, begin, end);
  } else {
    motion_bands<16>(p, begin, end);
  }
}

template <class T>
void volume_backward(const VolumeBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  if (in_fours(p)) {
    volume_bands<4>(p, begin, end);
  } else {
    volume_bands<16>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL(volume_motion_backward, VolumeMotionBackward)
INTERNET_INSTANTIATE_KERNEL(volume_backward, VolumeBackward)

}  // namespace internet::cpu::INTERNET_ISA
