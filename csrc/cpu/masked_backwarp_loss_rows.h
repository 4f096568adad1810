// What the forward and the backward pass of the masked back-warping loss share: which rows of the image a
// row of the flow reads, and the samples of a row, a chunk of columns at a time.
//
// Every stage fills plain arrays for the next, so that each is one short loop the compiler keeps in
// registers; a chunk's arrays fit in the first-level cache.
#pragma once

#include "../math/masked_backwarp_loss.h"
#include "masked_backwarp_loss.h"
#include "motion_rows.h"
#include "pixel_rows.h"
#include "row_window.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

using math::Axis;
using math::Padding;
using math::Penalty;
using math::select;
using math::splat;

template <class S>
constexpr int chunk_columns = 512 / int(sizeof(S));
template <class S>
using Native = Vec<S, native_lanes<S>>;
template <class S>
using Index = typename math::Value<S>::Integer;

template <class S>
struct alignas(64) Chunk {
  static constexpr int n = chunk_columns<S>;
  const S *flow_x, *flow_y, *mask;
  const S* target[4];  // four channels
  // Where to sample, see math::Position.
  Index<S> column[n], row[n];
  S fraction_x[n], fraction_y[n];
  S moves_x[n], moves_y[n];  // 1 or 0
  S reads[n];                // 1, or 0 where the sample is out of the frame
  Index<S> low[n], high[n];  // the upper and the lower pair of pixels, as offsets in the ring
  // Four channels, in planes.
  S value[4 * n], slope_x[4 * n], slope_y[4 * n];
  S loss[n];
  S flow_x_copy[n], flow_y_copy[n], target_copy[4 * n];
};

template <class S>
INTERNET_HD int64_t whole_vectors(int64_t count) {
  return (count + native_lanes<S> - 1) / native_lanes<S> * native_lanes<S>;
}

// `count` values, readable in whole vectors: where they are, or else a copy that repeats the last value.
template <class S>
inline const S* read_line(const S* line, int64_t stride, int64_t count, S* copy) {
  const int64_t whole = whole_vectors<S>(count);
  if (stride == 1 && whole == count) return line;
  for (int64_t i = 0; i < count; ++i) copy[i] = line[i * stride];
  for (int64_t i = count; i < whole; ++i) copy[i] = copy[count - 1];
  return copy;
}

template <class T, class S = opmath<T>>
inline const S* flow_line(const BackwarpInputs<T>& in, int64_t b, int64_t axis, int64_t y) {
  return in.flow.data + b * in.flow.stride[0] + axis * in.flow.stride[1] + y * in.flow.stride[2];
}

// The rows read by the samples of row y of the flow, -1 and `height` included. A row that reads nothing gets
// itself, which is near its neighbours' range, so that there is always a row to point at.
template <class T, class S = opmath<T>>
inline RowRange row_range(const BackwarpInputs<T>& in, int64_t b, int64_t y) {
  constexpr int N = native_lanes<S>;
  using V = Native<S>;
  const S height = S(in.height);
  const bool border = in.padding == Padding::border, valid = in.padding == Padding::valid;
  const S* flow_y = flow_line(in, b, 1, y);
  const int64_t step = in.flow.stride[3];
  alignas(64) S copy[chunk_columns<S>];
  V lowest = splat<V>(height), highest = splat<V>(-1);
  for (int64_t x = 0; x < in.width; x += chunk_columns<S>) {
    const int64_t count = std::min<int64_t>(in.width - x, chunk_columns<S>);
    const S* line = read_line(flow_y + x * step, step, count, copy);
    for (int64_t i = 0; i < count; i += N) {
      V t = load<N>(line + i) + S(y);
      if (border) {
        t = math::at_most(math::at_least(t, S(0)), height - 1);  // a NaN reads row 0
        lowest = select(t < lowest, t, lowest);
        highest = select(t > highest, t, highest);
      } else {
        const auto reads = math::inside_frame(t, height, valid);
        lowest = select(reads & (t < lowest), t, lowest);
        highest = select(reads & (t > highest), t, highest);
      }
    }
  }
  S low = height, high = -1;
  for (int i = 0; i < N; ++i) {
    low = lowest[i] < low ? lowest[i] : low;
    high = highest[i] > high ? highest[i] : high;
  }
  if (low > high) return {int32_t(y), int32_t(y) + 1};
  return {int32_t(math::position(low, height, border).base),
          int32_t(math::position(high, height, border).base) + 1};
}

// Sets up the samples of `count` columns from x0 on in row y, whose flow is in the chunk.
template <bool border, bool with_slopes, class S>
inline void place(Chunk<S>& c, int64_t count, int64_t x0, int64_t y, S width, S height, bool valid,
                  RowRange range) {
  constexpr int N = native_lanes<S>;
  using V = Native<S>;
  using I = Vec<Index<S>, N>;
  const V zero = splat<V>(0), one = splat<V>(1);
  V lane;
  for (int k = 0; k < N; ++k) lane[k] = S(k);
  for (int64_t i = 0; i < count; i += N) {
    const V x = load<N>(c.flow_x + i) + (lane + S(x0 + i));
    const V t = load<N>(c.flow_y + i) + S(y);
    const auto px = math::position(x, width, border), py = math::position(t, height, border);
    const I column = __builtin_convertvector(px.base, I);
    I row = __builtin_convertvector(py.base, I);
    if (!border) {
      // A sample that is not read points at a row that is at hand.
      const I first = I{} + range.first, last = I{} + (range.last - 1);
      row = row < first ? first : row;
      row = row > last ? last : row;
      const auto reads = math::inside_frame(x, width, valid) & math::inside_frame(t, height, valid);
      store<N>(c.reads + i, select(reads, one, zero));
    }
    std::memcpy(c.column + i, &column, sizeof(I));
    std::memcpy(c.row + i, &row, sizeof(I));
    store<N>(c.fraction_x + i, px.fraction);
    store<N>(c.fraction_y + i, py.fraction);
    if (border && with_slopes) {
      store<N>(c.moves_x + i, select(math::moves_within(x, width), one, zero));
      store<N>(c.moves_y + i, select(math::moves_within(t, height), one, zero));
    }
  }
}

// A ring holds `slots` (a power of two) rows of `pitch` pixels. Its offsets count 8 bytes, a scale that
// addresses have for free.
template <class S>
inline Index<S> ring_offset(Index<S> row, Index<S> column, int64_t slots, int64_t pitch) {
  constexpr Index<S> units = pixel_lanes * sizeof(S) / 8;
  return ((row & Index<S>(slots - 1)) * Index<S>(pitch) + column) * units;
}
template <class S>
INTERNET_HD S* at_offset(S* ring, Index<S> offset) {
  return ring + int64_t(offset) * int64_t(8 / sizeof(S));
}

// Two neighbouring pixels in one vector, and its halves.
template <class S>
using Pair = Vec<S, 2 * pixel_lanes>;
template <class S>
INTERNET_HD math::Column<Pixel<S>> left_of(const math::Column<Pair<S>>& c) {
  return {__builtin_shufflevector(c.level, c.level, 0, 1, 2, 3),
          __builtin_shufflevector(c.step, c.step, 0, 1, 2, 3)};
}
template <class S>
INTERNET_HD math::Column<Pixel<S>> right_of(const math::Column<Pair<S>>& c) {
  return {__builtin_shufflevector(c.level, c.level, 4, 5, 6, 7),
          __builtin_shufflevector(c.step, c.step, 4, 5, 6, 7)};
}

// Where pairs come from: the ring, or (when the rows read at a time would make it too large) the image.
template <class S>
struct RingPairs {
  const S* ring;
  Pair<S> top(const Chunk<S>& c, int64_t i) const { return load<8>(at_offset(ring, c.low[i])); }
  Pair<S> bottom(const Chunk<S>& c, int64_t i) const { return load<8>(at_offset(ring, c.high[i])); }
};
template <class T>
struct ImagePairs {
  using S = opmath<T>;
  ImageRow<const T> first_row;
  int64_t row_stride, height;
  Pair<S> top(const Chunk<S>& c, int64_t i) const { return pair(c.row[i], c.column[i]); }
  Pair<S> bottom(const Chunk<S>& c, int64_t i) const { return pair(c.row[i] + 1, c.column[i]); }
  Pair<S> pair(int64_t row, int64_t column) const {
    S lanes[8] = {};
    for (int k = 0; k < 2; ++k, ++column) {
      if (row < 0 || row >= height || column < 0 || column >= first_row.width) continue;
      const T* p = first_row.data + row * row_stride + column * first_row.column_stride;
      for (int ch = 0; ch < first_row.channels; ++ch)
        lanes[4 * k + ch] = widen(p[ch * first_row.channel_stride]);
    }
    return load<8>(lanes);
  }
};

// Samples four channels of `count` columns, with the derivatives by the coordinate if asked for.
template <bool with_slopes, class S, class Pairs>
inline void sample_columns(Chunk<S>& c, int64_t count, Pairs pairs) {
  constexpr int n = Chunk<S>::n;
  for (int64_t i = 0; i < count; i += 4) {
    Pixel<S> value[4], slope_x[4], slope_y[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const auto column =
          math::interpolate_down(pairs.top(c, i + k), pairs.bottom(c, i + k), c.fraction_y[i + k]);
      const auto s = math::interpolate_across(left_of<S>(column), right_of<S>(column), c.fraction_x[i + k]);
      value[k] = s.value;
      if constexpr (with_slopes) slope_x[k] = s.slope_x, slope_y[k] = s.slope_y;
    }
    transpose<S>(value);
    for (int ch = 0; ch < 4; ++ch) store<4>(c.value + ch * n + i, value[ch]);
    if constexpr (with_slopes) {
      transpose<S>(slope_x);
      transpose<S>(slope_y);
      for (int ch = 0; ch < 4; ++ch) store<4>(c.slope_x + ch * n + i, slope_x[ch]);
      for (int ch = 0; ch < 4; ++ch) store<4>(c.slope_y + ch * n + i, slope_y[ch]);
    }
  }
}

// The same channels one row further down.
template <class U>
INTERNET_HD ImageRow<U> below(ImageRow<U> row, int64_t row_stride) {
  row.data += row_stride;
  return row;
}

// Four channels (the block-th four) of row y of an image.
template <class U, class T>
inline ImageRow<U> image_row(const Strided<U, 4>& image, const BackwarpInputs<T>& in, int64_t b,
                             int64_t block, int64_t y) {
  const int64_t left = in.channels - 4 * block;
  U* data = image.data + b * image.stride[0] + 4 * block * image.stride[1] + y * image.stride[2];
  return {data, image.stride[1], image.stride[3], in.width, int(left < 4 ? left : 4)};
}
template <class T>
inline int64_t blocks_of(const BackwarpInputs<T>& in) {
  return (in.channels + 3) / 4;
}

// Pixels in a row of a ring: one of margin before the first, at least one after the last.
template <class T>
inline int64_t ring_pitch(const BackwarpInputs<T>& in) {
  return (in.width + 3) / 4 * 4 + 4;
}
constexpr int64_t margin = pixel_lanes;

// The rows of the output image at hand, as pixels, with zeros around the image.
template <class T>
class SourceRing {
  using S = opmath<T>;

 public:
  explicit SourceRing(const BackwarpInputs<T>& in) : in_(in), pitch_(ring_pitch(in)) {}

  void start(int64_t b, const RowWindow& window) {
    b_ = b;
    slots_ = window.slots();
    next_ = window.needed_from(0);
    const int64_t count = slots_ * pitch_ * pixel_lanes * blocks_of(in_);
    direct_ = count * int64_t(sizeof(S)) > largest_ring_bytes;
    if (!direct_) ring_.at_least(count);
  }
  // Before step i of the walk that `window` was planned for.
  void advance(const RowWindow& window, int64_t step) {
    if (direct_) return;
    if (next_ < window.needed_from(step)) next_ = window.needed_from(step);
    for (; next_ <= window.touched_to(step); ++next_) {
      for (int64_t block = 0; block < blocks_of(in_); ++block) fill(block, next_);
    }
  }
  // To be called once a chunk, before its samples.
  void locate(Chunk<S>& c, int64_t count) const {
    if (direct_) return;
    for (int64_t i = 0; i < count; ++i) {
      c.low[i] = ring_offset<S>(c.row[i], c.column[i], slots_, pitch_);
      c.high[i] = ring_offset<S>(c.row[i] + 1, c.column[i], slots_, pitch_);
    }
  }
  template <bool with_slopes>
  void sample(Chunk<S>& c, int64_t count, int64_t block) const {
    if (direct_) {
      const auto first_row = image_row(in_.output, in_, b_, block, 0);
      sample_columns<with_slopes>(c, count, ImagePairs<T>{first_row, in_.output.stride[2], in_.height});
    } else {
      sample_columns<with_slopes>(c, count, RingPairs<S>{row(block, 0) + margin});
    }
  }

 private:
  static constexpr int64_t largest_ring_bytes = int64_t(8) << 20;
  S* row(int64_t block, int64_t y) const {
    return ring_.data() + (block * slots_ + (y & (slots_ - 1))) * pitch_ * pixel_lanes;
  }
  void fill(int64_t block, int64_t y) {
    S* pixels = row(block, y);
    const Pixel<S> zero = {};
    if (y < 0 || y >= in_.height) {
      for (int64_t x = 0; x < pitch_; ++x) store<4>(pixels + 4 * x, zero);
      return;
    }
    store<4>(pixels, zero);
    if (y + 1 < in_.height) prefetch(image_row(in_.output, in_, b_, block, y + 1), 0, in_.width);
    read_pixels(image_row(in_.output, in_, b_, block, y), pixels + margin);
    store<4>(pixels + margin + 4 * in_.width, zero);
  }

  const BackwarpInputs<T>& in_;
  int64_t pitch_, b_ = 0, slots_ = 1, next_ = 0;
  bool direct_ = false;
  Scratch<S> ring_;
};

// The mask's full-resolution rows, 1 where there is none.
template <class T>
class MaskRows {
  using S = opmath<T>;

 public:
  explicit MaskRows(const BackwarpInputs<T>& in)
      : in_(in), scratch_(in.width), fine_(whole_vectors<S>(in.width)) {
    for (int64_t x = 0; x < whole_vectors<S>(in.width); ++x) fine_.data()[x] = 1;
  }
  // Readable in whole vectors.
  const S* at(int64_t b, int64_t y) {
    if (in_.mask.data != nullptr) {
      const auto& mask = in_.mask;
      const CoarseMap<S> map = {mask.data + b * mask.stride[0], mask.stride[2], mask.stride[3],
                                in_.height / in_.mask_ratio, in_.width / in_.mask_ratio};
      upsample_row(map, in_.mask_ratio, y, scratch_.data(), fine_.data());
    }
    return fine_.data();
  }

 private:
  const BackwarpInputs<T>& in_;
  Scratch<S> scratch_, fine_;
};

// The flow and the mask of a chunk, and from them its samples' places.
template <bool with_slopes, class T, class S = opmath<T>>
inline void set_up(Chunk<S>& c, const BackwarpInputs<T>& in, int64_t b, int64_t y, int64_t x0, int64_t count,
                   const S* mask, RowRange range) {
  const int64_t step = in.flow.stride[3], whole = whole_vectors<S>(count);
  c.flow_x = read_line(flow_line(in, b, 0, y) + x0 * step, step, count, c.flow_x_copy);
  c.flow_y = read_line(flow_line(in, b, 1, y) + x0 * step, step, count, c.flow_y_copy);
  c.mask = mask + x0;
  prefetch(ImageRow<const S>{flow_line(in, b, 0, y + 1), in.flow.stride[1], step, in.width, 2}, x0, count);
  if (in.padding == Padding::border) {
    place<true, with_slopes>(c, whole, x0, y, S(in.width), S(in.height), false, range);
  } else {
    place<false, with_slopes>(c, whole, x0, y, S(in.width), S(in.height), in.padding == Padding::valid,
                              range);
  }
}

// The target's four channels of a chunk: where they are, if those are planes of whole vectors.
template <class T, class S = opmath<T>>
inline void read_target(Chunk<S>& c, const ImageRow<const T>& row, int64_t row_stride, int64_t x0,
                        int64_t count) {
  prefetch(below(row, row_stride), x0, count);
  const bool in_place = std::is_same_v<T, S> && row.column_stride == 1 && whole_vectors<S>(count) == count;
  if constexpr (std::is_same_v<T, S>) {
    for (int ch = 0; in_place && ch < row.channels; ++ch)
      c.target[ch] = row.data + ch * row.channel_stride + x0;
  }
  if (in_place) return;
  read_planes(row, x0, count, c.target_copy, Chunk<S>::n);
  for (int ch = 0; ch < 4; ++ch) c.target[ch] = c.target_copy + ch * Chunk<S>::n;
}

// Calls f with the penalty as a compile-time constant.
template <class F>
inline void with_penalty(Penalty norm, F f) {
  switch (norm) {
    case Penalty::l1:
      return f(std::integral_constant<Penalty, Penalty::l1>());
    case Penalty::l2:
      return f(std::integral_constant<Penalty, Penalty::l2>());
    default:
      return f(std::integral_constant<Penalty, Penalty::charbonnier>());
  }
}

}  // namespace internet::cpu::INTERNET_ISA::backwarp
