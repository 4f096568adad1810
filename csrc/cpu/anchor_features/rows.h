// Shared by the forward and the backward pass of anchor_features: where a stretch of an output row samples
// the framed source, the Gaussians along it, and the conversion between planes or pixels and the framed
// image's blocks.
#pragma once

#include <algorithm>

#include "cpu/anchor_features/kernels.h"
#include "cpu/simd/few_channels.h"

namespace internet::cpu::INTERNET_ISA::anchor_rows {

template <class S>
constexpr int lanes = native_lanes<S>;
template <class S>
using Native = Vec<S, lanes<S>>;
template <class S>
using Index = typename math::Value<S>::Integer;

constexpr int stretch = 256;  // columns

INTERNET_HD int64_t in_fours(int64_t count) { return (count + 3) / 4 * 4; }

// The pixels of a sample, starting from the lowest. `stride`: of each axis, in values.
template <int N, class S>
INTERNET_HD math::Corners<Pixel<S>, N> corners(const S* lowest, const int64_t* stride) {
  if constexpr (N == 2) {
    const S* south = lowest + stride[1];
    return {load<4>(lowest), load<4>(lowest + 4), load<4>(south), load<4>(south + 4)};
  } else {
    return {corners<N - 1>(lowest, stride), corners<N - 1>(lowest + stride[N - 1], stride)};
  }
}

// The samples of a stretch of one row. Columns past the row's end are placed like the rest.
template <class S, int N>
struct alignas(64) Places {
  using I = Vec<Index<S>, lanes<S>>;

  Index<S> pixel[stretch];  // the lowest of the 2^N, counted from the first pixel of the framed image
  S low[N][stretch], high[N][stretch];  // weights
  Index<S> nowhere;                     // where samples that read nothing are placed

  template <int m>
  INTERNET_MEMBER void find(const math::RowMotion<S, m>& motion, int64_t first, int64_t count,
                            const FramedShape<N>& framed) {
    find(motion, first, count, framed, [](int64_t, const I(&)[N], I) {});
  }
  // Calls more(i, lowest pixels' coordinates in the framed image, whether they are read) for each vector.
  template <int m, class More>
  INTERNET_MEMBER void find(const math::RowMotion<S, m>& motion, int64_t first, int64_t count,
                            const FramedShape<N>& framed, More more) {
    using V = Native<S>;
    nowhere = nowhere_in(framed);
    for (int64_t i = 0; i < in_fours(count); i += lanes<S>) {
      const math::Point<V, N> t = math::source_pixel<N>(motion, V(iota<V>() + S(first + i)));
      math::Axis<V> axes[N];
      I at{}, lowest[N];
      for (int a = N - 1; a >= 0; --a) {
        axes[a] = math::axis(t.axis[a], S(framed.size[a]), false);
        // Between the frame and pixel 0, the lower pixel is in the frame.
        const V low = math::select(t.axis[a] < V{}, math::splat<V>(S(-1)), axes[a].low) + S(1);
        lowest[a] = __builtin_convertvector(low, I);
        at += lowest[a] * Index<S>(framed.stride(a));
        store<lanes<S>>(this->low[a] + i, axes[a].low_weight);
        store<lanes<S>>(high[a] + i, axes[a].high_weight);
      }
      const I reads = math::reads_image<N>(axes);
      put(pixel + i, reads, at, nowhere);
      more(i, lowest, reads);
    }
  }

  // The frame's corner beyond the image.
  INTERNET_MEMBER static Index<S> nowhere_in(const FramedShape<N>& framed) {
    return Index<S>((framed.size[N - 1] + 1) * framed.stride(N - 1));
  }
  INTERNET_MEMBER static void put(Index<S>* places, I wanted, I at, Index<S> nowhere) {
    const I chosen = wanted ? at : at - at + nowhere;
    std::memcpy(places, &chosen, sizeof(chosen));
  }

  // Whether the samples from i on read the image.
  INTERNET_MEMBER auto read(int64_t i) const {
    I at;
    std::memcpy(&at, pixel + i, sizeof(at));
    return at != nowhere;
  }

  // Sample i, from a block of the framed image.
  INTERNET_MEMBER Pixel<S> sample(const S* block, const int64_t* stride, int64_t i) const {
    const S* lowest = block + 4 * pixel[i];
    if constexpr (N == 1) {
      return load<4>(lowest) * low[0][i] + load<4>(lowest + 4) * high[0][i];
    } else {
      math::Axis<S> along[N];
      axes(i, along);
      return math::blend(corners<N>(lowest, stride), along);
    }
  }

  // Because the frame of zeros is read like the image, the weights change by one per pixel everywhere.
  INTERNET_MEMBER void axes(int64_t i, math::Axis<S> (&out)[N]) const {
    for (int a = 0; a < N; ++a) out[a] = {0, 0, low[a][i], high[a][i], S(-1), S(1)};
  }
};

// One Gaussian along a stretch of a row: its value at column i is scale * values[i].
template <class S>
struct GaussianStretch {
  const S* values;
  double scale;
};

// The Gaussians of the heat maps, along rows.
template <class T, int N>
class HeatRows {
 public:
  using S = opmath<T>;
  using V = Native<S>;

  INTERNET_MEMBER explicit HeatRows(const AnchorFeaturesInputs<T, N>& inputs) : inputs_(inputs) {
    const AnchorFeaturesShape<N>& shape = inputs.shape;
    for (int a = 0; a < N; ++a) {
      start_[a] = math::normalized_start(double(shape.size[a]), shape.grid_align_corners);
      step_[a] = math::normalized_step(double(shape.size[a]), shape.grid_align_corners);
    }
    x_start_ = math::normalized_start(S(shape.size[0]), shape.grid_align_corners);
    x_step_ = math::normalized_step(S(shape.size[0]), shape.grid_align_corners);
  }

  INTERNET_MEMBER V x(V column) const { return column * x_step_ + x_start_; }
  // A row's distances from a key point along all axes but x.
  INTERNET_MEMBER void distances(const math::Gaussian<double, N>& g, const int64_t (&at)[N],
                                 double (&d)[N]) const {
    d[0] = 0;
    for (int a = 1; a < N; ++a) d[a] = start_[a] + step_[a] * double(at[a]) - g.point[a];
  }

  // The Gaussian of anchor `index` of the batch; `buffer` is where its values may be stored. For gradients, a
  // Gaussian whose exponent was clamped is 0 (math/anchor_features.h).
  template <bool for_gradients>
  INTERNET_MEMBER GaussianStretch<S> driving(int64_t index, const int64_t (&at)[N], int64_t first,
                                             int64_t count, S* buffer) const {
    return along<for_gradients>(inputs_.heat_maps[index].driving, 2 * index, at, first, count, buffer);
  }
  template <bool for_gradients>
  INTERNET_MEMBER GaussianStretch<S> source(int64_t index, const int64_t (&at)[N], int64_t first,
                                            int64_t count, S* buffer) const {
    return along<for_gradients>(inputs_.heat_maps[index].source, 2 * index + 1, at, first, count, buffer);
  }

 private:
  template <bool for_gradients>
  INTERNET_MEMBER GaussianStretch<S> along(const math::Gaussian<double, N>& g, int64_t number,
                                           const int64_t (&at)[N], int64_t first, int64_t count,
                                           S* buffer) const {
    const AnchorFeaturesShape<N>& shape = inputs_.shape;
    if (inputs_.factors != nullptr) {
      const S* columns = inputs_.factors + number * shape.factors();
      const S* factors = columns + shape.size[0];
      double scale = 1;
      for (int a = 1; a < N; factors += shape.size[a++]) scale *= double(factors[at[a]]);
      return {columns + first, scale};
    }
    double d[N];
    distances(g, at, d);
    const auto row = math::gaussian_row<S>(g, d);
    for (int64_t i = 0; i < in_fours(count); i += lanes<S>) {
      const V exponent = row.exponent_at(x(iota<V>() + S(first + i)));
      const V value = for_gradients ? math::gaussian_slope(exponent) : math::gaussian_value(exponent);
      store<lanes<S>>(buffer + i, value);
    }
    return {buffer, 1};
  }

  const AnchorFeaturesInputs<T, N>& inputs_;
  double start_[N], step_[N];
  S x_start_, x_step_;
};

// A motion along row `at` of the output, in the arithmetic type.
template <class S, int N, int m>
INTERNET_HD math::RowMotion<S, m> row_motion(const math::Affine<double, N, m>& motion,
                                             const int64_t (&at)[N]) {
  math::Point<double, N> z;
  for (int a = 0; a < N; ++a) z.axis[a] = double(at[a]);
  const math::RowMotion<double, m> row = motion.row(z);
  math::RowMotion<S, m> out;
  for (int i = 0; i < m; ++i) {
    out.slope[i] = S(row.slope[i]);
    out.offset[i] = S(row.offset[i]);
  }
  return out;
}

// Calls f(motion) with motion k of an image along a row; the background's may be a projective map.
template <class T, int N, class F>
INTERNET_HD void with_row_motion(const AnchorFeaturesInputs<T, N>& inputs, int64_t image, int64_t k,
                                 const int64_t (&at)[N], F f) {
  if (k == 0 && inputs.backgrounds != nullptr) {
    f(row_motion<opmath<T>>(inputs.backgrounds[image], at));
  } else {
    f(row_motion<opmath<T>>(inputs.motions[image * (inputs.shape.anchors + 1) + k], at));
  }
}

// Channels first .. first + count - 1 of an output, or of its gradient, along a row.
template <class U, int N>
INTERNET_HD ImageRow<U> feature_row(const Strided<U, N + 2>& features, const AnchorFeaturesShape<N>& shape,
                                    int64_t image, int64_t first, int64_t count, const int64_t (&at)[N]) {
  const auto& s = features.stride;
  U* data = features.data + image * s[0] + first * s[1];
  for (int a = 1; a < N; ++a) data += at[a] * s[N + 1 - a];
  return {data, s[1], s[N + 1], shape.size[0], count};
}

// The channels of anchor k that a block of the framed pixels holds.
template <class U, int N>
INTERNET_HD ImageRow<U> block_row(const Strided<U, N + 2>& features, const AnchorFeaturesShape<N>& shape,
                                  int64_t image, int64_t k, int64_t block, const int64_t (&at)[N]) {
  const int64_t values = 1 + shape.channels, first = 4 * block + 1 - shape.lead;
  return feature_row<U, N>(features, shape, image, k * values + first, std::min<int64_t>(4, values - first),
                           at);
}
// Only the heat map of anchor k.
template <class U, int N>
INTERNET_HD ImageRow<U> heat_row(const Strided<U, N + 2>& features, const AnchorFeaturesShape<N>& shape,
                                 int64_t image, int64_t k, const int64_t (&at)[N]) {
  return feature_row<U, N>(features, shape, image, k * (1 + shape.channels), 1, at);
}

// One channel of `count` columns from `first` on, converted to and from the arithmetic type. What is read is
// padded with zeros to a whole vector.
template <class T, class S>
INTERNET_HD void write_row(const ImageRow<T>& row, int64_t first, int64_t count, const S* values) {
  int64_t i = 0;
  for (; row.column_stride == 1 && i + lanes<S> <= count; i += lanes<S>) {
    store<lanes<S>>(row.data + first + i, load<lanes<S>>(values + i));
  }
  for (; i < count; ++i) row.data[(first + i) * row.column_stride] = narrow<T>(values[i]);
}
template <class T, class S>
INTERNET_HD void read_row(const ImageRow<const T>& row, int64_t first, int64_t count, S* values) {
  int64_t i = 0;
  for (; row.column_stride == 1 && i + lanes<S> <= count; i += lanes<S>) {
    store<lanes<S>>(values + i, load<lanes<S>>(row.data + first + i));
  }
  for (; i < count; ++i) values[i] = widen(row.data[(first + i) * row.column_stride]);
  for (; i % lanes<S> != 0; ++i) values[i] = 0;
}

}  // namespace internet::cpu::INTERNET_ISA::anchor_rows
