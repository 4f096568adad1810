// What the forward and the backward pass of anchor_features share: where a stretch of an output row samples
// the framed source, and the way from planes or pixels to the framed image's blocks and back.
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

// The samples of a stretch of one row. What lies past the row's end is placed like the rest.
template <class S>
struct alignas(64) Places {
  Index<S> pixel[stretch];  // the north-west of the four, counted from the framed image's first
  S west[stretch], east[stretch], north[stretch], south[stretch];  // weights
  Index<S> nowhere;                                                // the place of samples that read nothing

  INTERNET_MEMBER void find(const math::RowMotion<S, 2>& motion, int64_t first, int64_t count,
                            const FramedShape& framed) {
    using V = Native<S>;
    const S width = S(framed.width), height = S(framed.height);
    const Index<S> pitch = Index<S>(framed.pitch());
    nowhere = pitch * Index<S>(framed.height + 1);
    for (int64_t i = 0; i < in_fours(count); i += lanes<S>) {
      const V column = iota<V>() + S(first + i);
      const auto [x, y] = motion.at(column).axis;
      const math::Axis<V> ax = math::axis(x, width, false), ay = math::axis(y, height, false);
      const auto reads = math::reads_image(ax, ay);
      // Between the frame and pixel 0, the low pixel is the frame's.
      auto framed_index = [](V t, V low) {
        const V minus_one = math::splat<V>(S(-1));
        return __builtin_convertvector(math::select(t < V{}, minus_one, low) + S(1), Vec<Index<S>, lanes<S>>);
      };
      const auto at = framed_index(y, ay.low) * pitch + framed_index(x, ax.low);
      const Vec<Index<S>, lanes<S>> away = at - at + nowhere;
      const Vec<Index<S>, lanes<S>> chosen = reads ? at : away;
      std::memcpy(pixel + i, &chosen, sizeof(chosen));
      store<lanes<S>>(west + i, ax.low_weight);
      store<lanes<S>>(east + i, ax.high_weight);
      store<lanes<S>>(north + i, ay.low_weight);
      store<lanes<S>>(south + i, ay.high_weight);
    }
  }

  // Whether the samples from number i on read the image.
  INTERNET_MEMBER auto read(int64_t i) const {
    Vec<Index<S>, lanes<S>> at;
    std::memcpy(&at, pixel + i, sizeof(at));
    return at != nowhere;
  }

  // As the frame of zeros is read like the image, the weights change by one per pixel everywhere.
  INTERNET_MEMBER math::Axis<S> x_axis(int64_t i) const { return {0, 0, west[i], east[i], S(-1), S(1)}; }
  INTERNET_MEMBER math::Axis<S> y_axis(int64_t i) const { return {0, 0, north[i], south[i], S(-1), S(1)}; }
};

// The four pixels of a sample, in one block of a framed image.
template <class S>
INTERNET_HD math::Corners<Pixel<S>> corners(const S* block, int64_t pixel, int64_t pitch) {
  const S* north = block + 4 * pixel;
  const S* south = north + 4 * pitch;
  return {load<4>(north), load<4>(north + 4), load<4>(south), load<4>(south + 4)};
}

// The Gaussian factors of one anchor.
template <class S>
struct Factors {
  const S *driving_columns, *driving_rows, *source_columns, *source_rows;

  INTERNET_MEMBER Factors(const S* all, int64_t anchor, int64_t height, int64_t width)
      : driving_columns(all + anchor * 2 * (width + height)),
        driving_rows(driving_columns + width),
        source_columns(driving_rows + height),
        source_rows(source_columns + width) {}
};

// Along row y of the output.
template <class S>
INTERNET_HD math::RowMotion<S, 2> row_motion(const math::Affine<double, 2>& motion, int64_t y) {
  const math::RowMotion<double, 2> row = motion.row({{0, double(y)}});
  return {{S(row.slope[0]), S(row.slope[1])}, {S(row.offset[0]), S(row.offset[1])}};
}

// Block `block` of anchor k's values in row y of an output or its gradient.
template <class U>
INTERNET_HD ImageRow<U> feature_row(const Strided<U, 4>& features, const AnchorFeaturesShape& shape,
                                    int64_t image, int64_t k, int64_t block, int64_t y) {
  const int64_t values = 1 + shape.channels;
  const auto& s = features.stride;
  U* data = features.data + image * s[0] + (k * values + 4 * block) * s[1] + y * s[2];
  return {data, s[1], s[3], shape.width, int(std::min<int64_t>(4, values - 4 * block))};
}

}  // namespace internet::cpu::INTERNET_ISA::anchor_rows
