#include "cpu/anchor_features/rows.h"
#include "cpu/runtime/denormals.h"
#include "math/anchor_features.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace anchor_rows;

// One row of one block of a framed image: value l of a pixel is channel 4 * block + l - 1.
template <class T>
INTERNET_HD void frame_row(const AnchorFeaturesPrepare<T>& p, int64_t image, int64_t block, int64_t y,
                           opmath<T>* row) {
  using S = opmath<T>;
  const auto& s = p.source.stride;
  const T* line[4] = {};
  for (int l = 0; l < 4; ++l) {
    const int64_t channel = 4 * block + l - 1;
    if (channel < 0 || channel >= p.shape.channels) continue;
    line[l] = p.source.data + image * s[0] + channel * s[1] + y * s[2];
  }
  const Pixel<S> nothing{};
  store<4>(row, nothing);
  row += 4;
  int64_t x = 0;
  for (; s[3] == 1 && x + 4 <= p.shape.width; x += 4) {
    Pixel<S> v[4];
    for (int l = 0; l < 4; ++l) v[l] = line[l] == nullptr ? nothing : load<4>(line[l] + x);
    transpose(v);
    for (int i = 0; i < 4; ++i) store<4>(row + 4 * (x + i), v[i]);
  }
  for (; x < p.shape.width; ++x) {
    for (int l = 0; l < 4; ++l) row[4 * x + l] = line[l] == nullptr ? S(0) : widen(line[l][x * s[3]]);
  }
  store<4>(row + 4 * x, nothing);
}

template <class T>
INTERNET_HD void frame_rows(const AnchorFeaturesPrepare<T>& p, int64_t task) {
  const FramedShape& framed = p.shape.framed;
  const int64_t image = task / framed.rows(), y = task % framed.rows() - 1;
  for (int64_t block = 0; block < framed.blocks; ++block) {
    opmath<T>* row = p.framed + image * framed.size() + framed.row(block, y);
    if (y >= 0 && y < p.shape.height) {
      frame_row(p, image, block, y, row);
    } else {
      std::fill(row, row + 4 * framed.pitch(), opmath<T>(0));
    }
  }
}

// Of one key point along one axis.
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

template <class T>
INTERNET_HD void anchor_factors(const AnchorFeaturesPrepare<T>& p, int64_t anchor) {
  const int64_t height = p.shape.height, width = p.shape.width;
  const math::KeyPoints<double, 2>& points = p.key_points[anchor];
  opmath<T>* out = p.factors + anchor * 2 * (width + height);
  for (const double* point : {points.driving, points.source}) {
    write_factors(point[0], p.per_twice_variance, width, p.shape.grid_align_corners, out);
    write_factors(point[1], p.per_twice_variance, height, p.shape.grid_align_corners, out + width);
    out += width + height;
  }
}

template <class T>
class ForwardRow {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER explicit ForwardRow(const AnchorFeaturesForward<T>& p) : p_(p), shape_(p.shape) {}

  INTERNET_MEMBER void row(int64_t task) {
    const int64_t image = task / shape_.height, y = task % shape_.height;
    for (int64_t k = 0; k <= shape_.anchors; ++k) {
      const auto motion = row_motion<S>(p_.motion[image * (shape_.anchors + 1) + k], y);
      for (int64_t first = 0; first < shape_.width; first += stretch) {
        const int64_t count = std::min<int64_t>(stretch, shape_.width - first);
        places_.find(motion, first, count, shape_.framed);
        heat(image, k, y, first, count);
        for (int64_t block = 0; block < shape_.framed.blocks; ++block) {
          const auto out = feature_row(p_.output, shape_, image, k, block, y);
          with_layout(out, [&](auto layout) { sample<layout()>(out, image, block, first, count); });
        }
      }
    }
  }

 private:
  INTERNET_MEMBER void heat(int64_t image, int64_t k, int64_t y, int64_t first, int64_t count) {
    if (k == 0) return std::fill(heat_, heat_ + in_fours(count), S(0));
    const Factors<S> f(p_.factors, image * shape_.anchors + k - 1, shape_.height, shape_.width);
    const S driving = f.driving_rows[y], source = f.source_rows[y];
    for (int64_t i = 0; i < count; ++i) {
      heat_[i] = f.driving_columns[first + i] * driving - f.source_columns[first + i] * source;
    }
  }

  template <Layout L>
  INTERNET_MEMBER void sample(const ImageRow<T>& out, int64_t image, int64_t block, int64_t first,
                              int64_t count) {
    const S* pixels = p_.framed + image * shape_.framed.size() + block * shape_.framed.block_size();
    const int64_t pitch = shape_.framed.pitch();
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> v[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        v[j] = math::blend(corners(pixels, places_.pixel[i + j], pitch), places_.x_axis(i + j),
                           places_.y_axis(i + j));
      }
      if (block == 0) {
        for (int j = 0; j < 4; ++j) v[j] += Pixel<S>{heat_[i + j], 0, 0, 0};
      }
      store_group<L, false>(out, first + i, count - i, v);
    }
  }

  const AnchorFeaturesForward<T>& p_;
  const AnchorFeaturesShape& shape_;
  Places<S> places_;
  alignas(64) S heat_[stretch];
};

}  // namespace

template <class T>
void anchor_features_prepare(const AnchorFeaturesPrepare<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t rows = p.batch * p.shape.framed.rows();
  for (int64_t task = begin; task < end; ++task) {
    task < rows ? frame_rows(p, task) : anchor_factors(p, task - rows);
  }
}

template <class T>
void anchor_features_forward(const AnchorFeaturesForward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  ForwardRow<T> rows(p);
  for (int64_t task = begin; task < end; ++task) rows.row(task);
}

INTERNET_INSTANTIATE_KERNEL(anchor_features_prepare, AnchorFeaturesPrepare)
INTERNET_INSTANTIATE_KERNEL(anchor_features_forward, AnchorFeaturesForward)

}  // namespace internet::cpu::INTERNET_ISA
