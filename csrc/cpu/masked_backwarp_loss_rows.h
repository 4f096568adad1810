// What the forward and the backward pass of the masked back-warping loss share: which rows of the image a
// row of the flow reads, and the samples of a row, a chunk of columns at a time.
//
// Every stage fills plain arrays for the next, so that each is one short loop the compiler keeps in
// registers; a chunk's arrays fit in the first-level cache.
#pragma once

#include <cstdlib>
#include <new>

#include "../math/masked_backwarp_loss.h"
#include "masked_backwarp_loss.h"
#include "motion_rows.h"
#include "pixel_rows.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

using math::Axis;
using math::Padding;
using math::Penalty;
using math::select;
using math::splat;

// Scratch memory, aligned to cache lines; grows, forgetting what it held.
template <class S>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count) { at_least(count); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  S* at_least(int64_t count) {
    if (count > count_) {
      std::free(data_);
      data_ = static_cast<S*>(std::aligned_alloc(64, (size_t(count) * sizeof(S) + 63) / 64 * 64));
      if (data_ == nullptr) throw std::bad_alloc();
      count_ = count;
    }
    return data_;
  }
  S* data() const { return data_; }

 private:
  S* data_ = nullptr;
  int64_t count_ = 0;
};

template <class S>
constexpr int chunk_columns = 512 / int(sizeof(S));
template <class S>
using Native = Vec<S, native_lanes<S>>;
template <class S>
using Index = typename math::Value<S>::Integer;

template <class S>
struct alignas(64) Chunk {
  static constexpr int n = chunk_columns<S>;
  S flow_x[n], flow_y[n], mask[n];
  // Where to sample. Rows are offsets in pixels, within the ring or the image.
  Index<S> column_low[n], column_high[n], row_low[n], row_high[n];
  S x_low_weight[n], x_high_weight[n], x_low_slope[n], x_high_slope[n];
  S y_low_weight[n], y_high_weight[n], y_low_slope[n], y_high_slope[n];
  S reads[n];  // 1, or 0 where the sample is out of the frame
  // Four channels, in planes.
  S value[4 * n], slope_x[4 * n], slope_y[4 * n], target[4 * n];
  S loss[n];
};

template <class S>
INTERNET_HD int64_t whole_vectors(int64_t count) {
  return (count + native_lanes<S> - 1) / native_lanes<S> * native_lanes<S>;
}

// Widens `count` values, and repeats the last up to a whole vector.
template <class S>
inline void read_line(const S* line, int64_t stride, int64_t count, S* out) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) out[i] = line[i];
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = line[i * stride];
  }
  for (int64_t i = count; i < whole_vectors<S>(count); ++i) out[i] = out[count - 1];
}

template <class T, class S = opmath<T>>
inline const S* flow_line(const BackwarpInputs<T>& in, int64_t b, int64_t axis, int64_t y) {
  return in.flow.data + b * in.flow.stride[0] + axis * in.flow.stride[1] + y * in.flow.stride[2];
}

// The rows read by the samples of row y of the flow. A row that reads nothing gets itself, which is near
// its neighbours' range, so that there is always a row to point at.
template <class T, class S = opmath<T>>
inline RowRange row_range(const BackwarpInputs<T>& in, int64_t b, int64_t y) {
  using V = Native<S>;
  const bool border = in.padding == Padding::border, valid = in.padding == Padding::valid;
  const S* flow_y = flow_line(in, b, 1, y);
  alignas(64) S line[chunk_columns<S>];
  V lowest = splat<V>(S(in.height)), highest = splat<V>(S(-1));
  for (int64_t x = 0; x < in.width; x += chunk_columns<S>) {
    const int64_t count = std::min<int64_t>(in.width - x, chunk_columns<S>);
    read_line(flow_y + x * in.flow.stride[3], in.flow.stride[3], count, line);
    for (int64_t i = 0; i < count; i += native_lanes<S>) {
      V t = load<native_lanes<S>>(line + i) + S(y);
      if (border) {
        t = math::at_most(math::at_least(t, S(0)), S(in.height - 1));  // a NaN reads row 0
        lowest = select(t < lowest, t, lowest);
        highest = select(t > highest, t, highest);
      } else {
        auto reads = math::inside_frame(t, S(in.height), valid);
        lowest = select(reads & (t < lowest), t, lowest);
        highest = select(reads & (t > highest), t, highest);
      }
    }
  }
  S low = S(in.height), high = S(-1);
  for (int i = 0; i < native_lanes<S>; ++i) {
    low = lowest[i] < low ? lowest[i] : low;
    high = highest[i] > high ? highest[i] : high;
  }
  if (low > high) return {int32_t(y), int32_t(y)};
  return {int32_t(math::axis(low, S(in.height), border).low),
          int32_t(math::axis(high, S(in.height), border).high)};
}

// Sets up the samples of `count` columns from x0 on in row y, whose flow is in the chunk.
template <bool border, class S>
inline void place(Chunk<S>& c, int64_t count, int64_t x0, int64_t y, int64_t width, int64_t height,
                  bool valid, RowRange range) {
  constexpr int N = native_lanes<S>;
  using V = Native<S>;
  V lane;
  for (int k = 0; k < N; ++k) lane[k] = S(k);
  for (int64_t i = 0; i < count; i += N) {
    const V x = load<N>(c.flow_x + i) + (lane + S(x0 + i));
    const V t = load<N>(c.flow_y + i) + S(y);
    const Axis<V> ax = math::axis(x, S(width), border);
    const Axis<V> ay = math::axis(t, S(height), border);
    const auto row = [&](V r) {  // weight zero, but a row that is at hand
      r = math::at_most(math::at_least(r, S(range.first)), S(range.last));
      return __builtin_convertvector(r, Vec<Index<S>, N>);
    };
    const auto keep = [&](Index<S>* p, Vec<Index<S>, N> v) { std::memcpy(p + i, &v, sizeof(v)); };
    keep(c.column_low, __builtin_convertvector(ax.low, Vec<Index<S>, N>));
    keep(c.column_high, __builtin_convertvector(ax.high, Vec<Index<S>, N>));
    keep(c.row_low, row(ay.low));
    keep(c.row_high, row(ay.high));
    store<N>(c.x_low_weight + i, ax.low_weight);
    store<N>(c.x_high_weight + i, ax.high_weight);
    store<N>(c.x_low_slope + i, ax.low_slope);
    store<N>(c.x_high_slope + i, ax.high_slope);
    store<N>(c.y_low_weight + i, ay.low_weight);
    store<N>(c.y_high_weight + i, ay.high_weight);
    store<N>(c.y_low_slope + i, ay.low_slope);
    store<N>(c.y_high_slope + i, ay.high_slope);
    if (!border) {
      auto reads = math::inside_frame(x, S(width), valid) & math::inside_frame(t, S(height), valid);
      store<N>(c.reads + i, select(reads, splat<V>(1), splat<V>(0)));
    }
  }
}

// Turns row numbers into offsets in a ring of `slots` (a power of two) rows of `pitch` pixels.
template <class S>
inline void rows_to_offsets(Index<S>* rows, int64_t count, int64_t slots, int64_t pitch) {
  const Index<S> wrap = Index<S>(slots - 1), step = Index<S>(pitch);
  for (int64_t i = 0; i < count; ++i) rows[i] = (rows[i] & wrap) * step;
}

// Where pixels come from: the ring, or (when the rows read at a time would make it too large) the image.
template <class S>
struct RingPixels {
  const S* ring;
  Pixel<S> operator()(Index<S> row, Index<S> column) const {
    return load<4>(ring + 4 * (int64_t(row) + column));
  }
};
template <class T>
struct ImagePixels {
  using S = opmath<T>;
  const T* image;
  int64_t channel_stride, row_stride, column_stride;
  int channels;
  Pixel<S> operator()(Index<S> row, Index<S> column) const {
    const T* p = image + row * row_stride + column * column_stride;
    S lanes[4] = {};
    for (int c = 0; c < channels; ++c) lanes[c] = widen(p[c * channel_stride]);
    return load<4>(lanes);
  }
};

// Samples four channels of `count` columns, with the derivatives by the coordinate if asked for.
template <bool with_slopes, class S, class From>
inline void sample_columns(Chunk<S>& c, int64_t count, From pixel) {
  constexpr int n = Chunk<S>::n;
  for (int64_t i = 0; i < count; i += 4) {
    Pixel<S> value[4], slope_x[4], slope_y[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int64_t j = i + k;
      const Axis<S> x = {0, 0, c.x_low_weight[j], c.x_high_weight[j], c.x_low_slope[j], c.x_high_slope[j]};
      const Axis<S> y = {0, 0, c.y_low_weight[j], c.y_high_weight[j], c.y_low_slope[j], c.y_high_slope[j]};
      const Index<S> left = c.column_low[j], right = c.column_high[j];
      const Index<S> top = c.row_low[j], bottom = c.row_high[j];
      const Pixel<S> top_left = pixel(top, left), top_right = pixel(top, right);
      const Pixel<S> bottom_left = pixel(bottom, left), bottom_right = pixel(bottom, right);
      if constexpr (with_slopes) {
        const auto s = math::sample_with_slopes(top_left, top_right, bottom_left, bottom_right, x, y);
        value[k] = s.value, slope_x[k] = s.slope_x, slope_y[k] = s.slope_y;
      } else {
        value[k] = math::sample(top_left, top_right, bottom_left, bottom_right, x, y);
      }
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
// Which rows have to be at hand while walking rows that each touch a range. Before step i all rows below
// needed_from(i) are done with for good, and no step so far has touched a row beyond touched_to(i).
class RowWindow {
 public:
  // Ranges with first > last touch nothing.
  void plan(const RowRange* ranges, int64_t count, int32_t end) {
    int32_t* from = from_.at_least(count + 1);
    int32_t* to = to_.at_least(count + 1);
    from[count] = end;
    for (int64_t i = count - 1; i >= 0; --i) {
      bool touches = ranges[i].first <= ranges[i].last;
      from[i] = touches && ranges[i].first < from[i + 1] ? ranges[i].first : from[i + 1];
    }
    tallest_ = 1;
    for (int64_t i = 0; i < count; ++i) {
      int32_t last = i > 0 ? to[i - 1] : from[0] - 1;
      to[i] = ranges[i].first <= ranges[i].last && ranges[i].last > last ? ranges[i].last : last;
      if (to[i] - from[i] + 1 > tallest_) tallest_ = to[i] - from[i] + 1;
    }
  }
  int32_t needed_from(int64_t step) const { return from_.data()[step]; }
  int32_t touched_to(int64_t step) const { return to_.data()[step]; }
  // A power of two: the slot of row y is y & (slots() - 1).
  int64_t slots() const {
    int64_t n = 1;
    while (n < tallest_) n *= 2;
    return n;
  }

 private:
  Scratch<int32_t> from_, to_;
  int64_t tallest_ = 1;
};

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

// The rows of the output image at hand, as pixels.
template <class T>
class SourceRing {
  using S = opmath<T>;

 public:
  explicit SourceRing(const BackwarpInputs<T>& in) : in_(in), pitch_((in.width + 3) / 4 * 4) {}

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
      for (int64_t block = 0; block < blocks_of(in_); ++block) {
        read_pixels(image_row(in_.output, in_, b_, block, next_), row(block, next_));
      }
    }
  }
  // To be called once a chunk, before its samples.
  void locate(Chunk<S>& c, int64_t count) const {
    if (direct_) return;
    rows_to_offsets<S>(c.row_low, count, slots_, pitch_);
    rows_to_offsets<S>(c.row_high, count, slots_, pitch_);
  }
  template <bool with_slopes>
  void sample(Chunk<S>& c, int64_t count, int64_t block) const {
    if (direct_) {
      const auto row = image_row(in_.output, in_, b_, block, 0);
      const ImagePixels<T> image = {row.data, row.channel_stride, in_.output.stride[2], row.column_stride,
                                    row.channels};
      sample_columns<with_slopes>(c, count, image);
    } else {
      sample_columns<with_slopes>(c, count, RingPixels<S>{row(block, 0)});
    }
  }

 private:
  static constexpr int64_t largest_ring_bytes = int64_t(8) << 20;
  S* row(int64_t block, int64_t y) const {
    return ring_.data() + (block * slots_ + (y & (slots_ - 1))) * pitch_ * pixel_lanes;
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
  explicit MaskRows(const BackwarpInputs<T>& in) : in_(in), scratch_(in.width), fine_(in.width) {
    for (int64_t x = 0; in.mask.data == nullptr && x < in.width; ++x) fine_.data()[x] = 1;
  }
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
template <class T, class S = opmath<T>>
inline void set_up(Chunk<S>& c, const BackwarpInputs<T>& in, int64_t b, int64_t y, int64_t x0, int64_t count,
                   const S* mask, RowRange range) {
  const int64_t step = in.flow.stride[3], whole = whole_vectors<S>(count);
  read_line(flow_line(in, b, 0, y) + x0 * step, step, count, c.flow_x);
  read_line(flow_line(in, b, 1, y) + x0 * step, step, count, c.flow_y);
  read_line(mask + x0, 1, count, c.mask);
  if (in.padding == Padding::border) {
    place<true>(c, whole, x0, y, in.width, in.height, false, range);
  } else {
    place<false>(c, whole, x0, y, in.width, in.height, in.padding == Padding::valid, range);
  }
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
