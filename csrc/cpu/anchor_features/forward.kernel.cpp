#include "cpu/anchor_features/level.h"
#include "cpu/anchor_features/rows.h"
#include "cpu/runtime/denormals.h"
#include "math/anchor_features.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace anchor_rows;

// One row of one block of a framed image: value l of a pixel is channel 4 * block + l - lead.
template <class T, int N>
INTERNET_HD void frame_row(const AnchorFeaturesPrepare<T, N>& p, int64_t image, int64_t block,
                           const int64_t (&at)[N], opmath<T>* row) {
  using S = opmath<T>;
  const auto& s = p.source.stride;
  const int64_t width = p.shape.size[0], column_stride = s[N + 1];
  const T* start = p.source.data + image * s[0];
  for (int a = 1; a < N; ++a) start += at[a] * s[N + 1 - a];
  const T* line[4] = {};
  for (int l = 0; l < 4; ++l) {
    const int64_t channel = 4 * block + l - p.shape.lead;
    if (channel >= 0 && channel < p.shape.channels) line[l] = start + channel * s[1];
  }
  const Pixel<S> nothing{};
  store<4>(row, nothing);
  row += 4;
  int64_t x = 0;
  for (; column_stride == 1 && x + 4 <= width; x += 4) {
    Pixel<S> v[4];
    for (int l = 0; l < 4; ++l) v[l] = line[l] == nullptr ? nothing : load<4>(line[l] + x);
    transpose(v);
    for (int i = 0; i < 4; ++i) store<4>(row + 4 * (x + i), v[i]);
  }
  for (; x < width; ++x) {
    for (int l = 0; l < 4; ++l)
      row[4 * x + l] = line[l] == nullptr ? S(0) : widen(line[l][x * column_stride]);
  }
  store<4>(row + 4 * x, nothing);
}

template <class T, int N>
INTERNET_HD void frame_rows(const AnchorFeaturesPrepare<T, N>& p, int64_t task) {
  const FramedShape<N>& framed = p.shape.framed;
  const int64_t image = task / framed.rows(), number = task % framed.rows();
  int64_t at[N] = {}, left = number;
  bool inside = true;
  for (int a = 1; a < N; left /= framed.extent(a++)) {
    at[a] = left % framed.extent(a) - 1;
    inside = inside && at[a] >= 0 && at[a] < p.shape.size[a];
  }
  for (int64_t block = 0; block < framed.blocks; ++block) {
    opmath<T>* row =
        p.framed + image * framed.total() + block * framed.block_size() + number * framed.row_size();
    if (inside) {
      frame_row<T, N>(p, image, block, at, row);
    } else {
      std::fill(row, row + framed.row_size(), opmath<T>(0));
    }
  }
}

// The factor of a Gaussian that belongs to one key point and one axis.
template <class S>
INTERNET_HD void write_factors(double key_point, S per_twice_variance, int64_t size, bool align_corners,
                               S* factors) {
  using V = Native<S>;
  const S start = math::normalized_start(S(size), align_corners);
  const S step = math::normalized_step(S(size), align_corners);
  for (int64_t i = 0; i < size; i += lanes<S>) {
    const V z = (iota<V>() + S(i)) * step + start;
    const V factor = math::gaussian_factor(z, S(key_point), per_twice_variance);
    for (int64_t l = 0; l < lanes<S> && i + l < size; ++l) factors[i + l] = factor[l];
  }
}

template <class T, int N>
INTERNET_HD void anchor_factors(const AnchorFeaturesPrepare<T, N>& p, int64_t anchor) {
  const math::HeatMap<double, N>& heat_map = p.heat_maps[anchor];
  opmath<T>* out = p.factors + anchor * 2 * p.shape.factors();
  for (const double* point : {heat_map.driving.point, heat_map.source.point}) {
    for (int a = 0; a < N; out += p.shape.size[a++]) {
      write_factors(point[a], p.per_twice_variance, p.shape.size[a], p.shape.grid_align_corners, out);
    }
  }
}

template <class T, int N>
class ForwardRow {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER explicit ForwardRow(const AnchorFeaturesForward<T, N>& p)
      : p_(p), shape_(p.inputs.shape), heat_rows_(p.inputs) {
    for (int a = 0; a < N; ++a) stride_[a] = 4 * shape_.framed.stride(a);
    if constexpr (N == 3) {
      level_size_ = level_size(shape_.framed);
      level_.at_least(shape_.framed.blocks * level_size_);
    }
  }

  INTERNET_MEMBER void row(int64_t task) {
    const int64_t image = task / shape_.rows();
    int64_t at[N];
    shape_.locate(task % shape_.rows(), at);
    for (int64_t k = 0; k <= shape_.anchors; ++k) {
      with_row_motion(p_.inputs, image, k, at, [&](const auto& motion) { row(motion, image, k, at); });
    }
  }

 private:
  template <int m>
  INTERNET_MEMBER void row(const math::RowMotion<S, m>& motion, int64_t image, int64_t k,
                           const int64_t (&at)[N]) {
    const FramedShape<N>& framed = shape_.framed;
    const S* pixels = p_.inputs.framed + image * framed.total();
    if constexpr (N == 3 && m == 3) {
      if (is_level(motion)) {
        const FourRows<S> rows(motion, framed);
        for (int64_t block = 0; block < framed.blocks; ++block) {
          rows.interpolate(pixels + block * framed.block_size(), framed, level_.data() + block * level_size_);
        }
        return stretches(along_x(motion), level_shape(framed), level_.data(), level_size_, image, k, at);
      }
    }
    stretches(motion, framed, pixels, framed.block_size(), image, k, at);
  }

  // Samples the content of `blocks`, which has M axes: the framed image, or a level row.
  template <int m, int M>
  INTERNET_MEMBER void stretches(const math::RowMotion<S, m>& motion, const FramedShape<M>& framed,
                                 const S* blocks, int64_t block_size, int64_t image, int64_t k,
                                 const int64_t (&at)[N]) {
    Places<S, M> places;
    for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
      places.find(motion, first, count, framed);
      heat(image, k, at, first, count);
      if (shape_.lead == 0) write_row(heat_row<T, N>(p_.output, shape_, image, k, at), first, count, heat_);
      for (int64_t block = 0; block < shape_.framed.blocks; ++block) {
        const auto out = block_row<T, N>(p_.output, shape_, image, k, block, at);
        with_layout(out, [&](auto layout) {
          sample<layout()>(out, places, blocks + block * block_size, block, first, count);
        });
      }
    }
  }

  INTERNET_MEMBER void heat(int64_t image, int64_t k, const int64_t (&at)[N], int64_t first, int64_t count) {
    if (k == 0) return std::fill(heat_, heat_ + in_fours(count), S(0));
    const int64_t index = image * shape_.anchors + k - 1;
    const auto d = heat_rows_.template driving<false>(index, at, first, count, heat_);
    const auto s = heat_rows_.template source<false>(index, at, first, count, source_heat_);
    const S driving = S(d.scale), source = S(s.scale);
    for (int64_t i = 0; i < count; ++i) heat_[i] = d.values[i] * driving - s.values[i] * source;
  }

  template <Layout L, int M>
  INTERNET_MEMBER void sample(const ImageRow<T>& out, const Places<S, M>& places, const S* pixels,
                              int64_t block, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> v[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) v[j] = places.sample(pixels, stride_, i + j);
      if (block == 0 && shape_.lead == 1) {
        for (int j = 0; j < 4; ++j) v[j] += Pixel<S>{heat_[i + j], 0, 0, 0};
      }
      store_group<L, false>(out, first + i, count - i, v);
    }
  }

  const AnchorFeaturesForward<T, N>& p_;
  const AnchorFeaturesShape<N>& shape_;
  HeatRows<T, N> heat_rows_;
  int64_t stride_[N];
  GrowingScratch<S> level_;  // a level row of each block
  int64_t level_size_ = 0;
  alignas(64) S heat_[stretch], source_heat_[stretch];
};

}  // namespace

template <class T, int N>
void anchor_features_prepare(const AnchorFeaturesPrepare<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t rows = p.batch * p.shape.framed.rows();
  for (int64_t task = begin; task < end; ++task) {
    task < rows ? frame_rows(p, task) : anchor_factors(p, task - rows);
  }
}

template <class T, int N>
void anchor_features_forward(const AnchorFeaturesForward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  ForwardRow<T, N> rows(p);
  for (int64_t task = begin; task < end; ++task) rows.row(task);
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_prepare, AnchorFeaturesPrepare)
INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_forward, AnchorFeaturesForward)

}  // namespace internet::cpu::INTERNET_ISA
