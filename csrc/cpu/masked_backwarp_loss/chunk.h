// The masked back-warping loss works on a chunk of a row at a time. This file finds where its samples lie.
//
// Every stage fills plain arrays for the next one, so that each is one short loop that the compiler keeps in
// registers. A chunk's arrays fit in the first-level cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/masked_backwarp_loss/kernels.h"
#include "cpu/simd/few_channels.h"
#include "math/masked_backwarp_loss.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

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
using Indices = Vec<Index<S>, native_lanes<S>>;

// The upper and the lower pair of pixels of each sample, as offsets into the ring they are added to.
template <class S>
struct alignas(64) Pairs {
  Index<S> upper[chunk_columns<S>], lower[chunk_columns<S>];
};

template <class S>
struct alignas(64) Chunk {
  static constexpr int n = chunk_columns<S>;
  const S *flow_x, *flow_y, *mask, *grad_loss;
  const S* target[4];  // four channels
  // Where to sample; see math::Position.
  Index<S> column[n], row[n];
  S fraction_x[n], fraction_y[n];
  S moves_x[n], moves_y[n];      // 1 or 0
  S reads[n];                    // 1, or 0 where the sample is out of the frame
  alignas(64) Index<S> read[n];  // offsets of the upper pairs in the ring they are read from
  Pairs<S> added;
  // Four channels, in planes.
  S value[4 * n], slope_x[4 * n], slope_y[4 * n];
  // Gradients with respect to the samples, in planes. The other gradients are written directly to memory
  // where possible.
  S sample[4 * n];
  S *grad_target[4], *grad_flow_x, *grad_flow_y, *grad_mask;
  S loss[n];
  S flow_x_copy[n], flow_y_copy[n], grad_loss_copy[n], target_copy[4 * n];
  S grad_target_copy[4 * n], grad_flow_x_copy[n], grad_flow_y_copy[n];
};

template <class S>
INTERNET_HD int64_t whole_vectors(int64_t count) {
  return (count + native_lanes<S> - 1) / native_lanes<S> * native_lanes<S>;
}

template <class S>
INTERNET_HD Indices<S> load_indices(const Index<S>* p) {
  Indices<S> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <class S>
INTERNET_HD void store_indices(Index<S>* p, Indices<S> v) {
  std::memcpy(p, &v, sizeof(v));
}

// Whether a vector that reaches past the end of row y of an image reads the next row.
template <class T, class U>
inline bool continues(const BackwarpInputs<T>& in, const Strided<U, 4>& image, int64_t y) {
  return y + 1 < in.height && image.stride[2] == in.width && in.width >= native_lanes<T>;
}

// `count` values that can be read in whole vectors: in place if others follow in memory, or else a copy that
// repeats the last value.
template <class S>
inline const S* read_line(const S* line, int64_t stride, int64_t count, S* copy, bool others_follow = false) {
  const int64_t whole = whole_vectors<S>(count);
  if (stride == 1 && (whole == count || others_follow)) return line;
  if (stride == 0) {
    std::fill_n(copy, count, *line);
  } else if (stride == 1) {
    std::copy_n(line, count, copy);
  } else {
    for (int64_t i = 0; i < count; ++i) copy[i] = line[i * stride];
  }
  for (int64_t i = count; i < whole; ++i) copy[i] = copy[count - 1];
  return copy;
}

template <class T, class S = opmath<T>>
inline const S* flow_line(const BackwarpInputs<T>& in, int64_t b, int64_t axis, int64_t y) {
  return in.flow.data + b * in.flow.stride[0] + axis * in.flow.stride[1] + y * in.flow.stride[2];
}

// The same channels, one row further down.
template <class U>
INTERNET_HD ImageRow<U> below(ImageRow<U> row, int64_t row_stride) {
  row.data += row_stride;
  return row;
}

// Four channels, from 4 * block on, of row y of an image.
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

// The range of rows that the samples of row y of the flow read, which may include -1 and `height`. A row that
// reads nothing gets the range of itself alone, which is near its neighbours', so that there is always a row
// to point at.
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

// Computes the samples of `count` columns from x0 on in row y, whose flow is in the chunk.
template <bool border, bool with_slopes, class S>
inline void place(Chunk<S>& c, int64_t count, int64_t x0, int64_t y, S width, S height, bool valid,
                  RowRange range) {
  constexpr int N = native_lanes<S>;
  using V = Native<S>;
  const V zero = splat<V>(0), one = splat<V>(1), lane = iota<V>();
  for (int64_t i = 0; i < count; i += N) {
    const V x = load<N>(c.flow_x + i) + (lane + S(x0 + i));
    const V t = load<N>(c.flow_y + i) + S(y);
    const auto px = math::position(x, width, border), py = math::position(t, height, border);
    Indices<S> row = __builtin_convertvector(py.base, Indices<S>);
    if (!border) {
      // A sample that is not read points at a row that is resident.
      const Indices<S> first = Indices<S>{} + range.first, last = Indices<S>{} + (range.last - 1);
      row = row < first ? first : row;
      row = row > last ? last : row;
      const auto reads = math::inside_frame(x, width, valid) & math::inside_frame(t, height, valid);
      store<N>(c.reads + i, select(reads, one, zero));
    }
    store_indices<S>(c.column + i, __builtin_convertvector(px.base, Indices<S>));
    store_indices<S>(c.row + i, row);
    store<N>(c.fraction_x + i, px.fraction);
    store<N>(c.fraction_y + i, py.fraction);
    if (border && with_slopes) {
      store<N>(c.moves_x + i, select(math::moves_within(x, width), one, zero));
      store<N>(c.moves_y + i, select(math::moves_within(t, height), one, zero));
    }
  }
}

// The flow and the mask of a chunk, and where its samples lie.
template <bool with_slopes, class T, class S = opmath<T>>
inline void set_up(Chunk<S>& c, const BackwarpInputs<T>& in, int64_t b, int64_t y, int64_t x0, int64_t count,
                   const S* mask, RowRange range) {
  const int64_t step = in.flow.stride[3], whole = whole_vectors<S>(count);
  const bool more = continues(in, in.flow, y);
  c.flow_x = read_line(flow_line(in, b, 0, y) + x0 * step, step, count, c.flow_x_copy, more);
  c.flow_y = read_line(flow_line(in, b, 1, y) + x0 * step, step, count, c.flow_y_copy, more);
  c.mask = mask + x0;
  prefetch(ImageRow<const S>{flow_line(in, b, 0, y + 1), in.flow.stride[1], step, in.width, 2}, x0, count);
  if (in.padding == Padding::border) {
    place<true, with_slopes>(c, whole, x0, y, S(in.width), S(in.height), false, range);
  } else {
    place<false, with_slopes>(c, whole, x0, y, S(in.width), S(in.height), in.padding == Padding::valid,
                              range);
  }
}

// Four channels of the target for a chunk: in place, if they are planes of whole vectors.
template <class T, class S = opmath<T>>
inline void read_target(Chunk<S>& c, const ImageRow<const T>& row, int64_t row_stride, int64_t x0,
                        int64_t count, bool others_follow) {
  prefetch(below(row, row_stride), x0, count);
  if constexpr (std::is_same_v<T, S>) {
    if (row.column_stride == 1 && (whole_vectors<S>(count) == count || others_follow)) {
      for (int ch = 0; ch < row.channels; ++ch) c.target[ch] = row.data + ch * row.channel_stride + x0;
      return;
    }
  }
  read_planes(row, x0, count, c.target_copy, Chunk<S>::n);
  for (int ch = 0; ch < 4; ++ch) c.target[ch] = c.target_copy + ch * Chunk<S>::n;
}

// Two neighbouring pixels in one vector.
template <class S>
using Pair = Vec<S, 2 * pixel_lanes>;

template <class S>
INTERNET_HD Pixel<S> left_of(Pair<S> p) {
  return __builtin_shufflevector(p, p, 0, 1, 2, 3);
}
template <class S>
INTERNET_HD Pixel<S> right_of(Pair<S> p) {
  return __builtin_shufflevector(p, p, 4, 5, 6, 7);
}
template <class S>
INTERNET_HD Pair<S> pair_of(Pixel<S> left, Pixel<S> right) {
  return __builtin_shufflevector(left, right, 0, 1, 2, 3, 4, 5, 6, 7);
}

// A ring's offsets count units of 8 bytes, a scale that addressing modes apply for free.
template <class S>
constexpr Index<S> pixel_units = pixel_lanes * sizeof(S) / 8;
template <class S>
INTERNET_HD S* at_offset(S* ring, Index<S> offset) {
  return ring + int64_t(offset) * int64_t(8 / sizeof(S));
}

// Whether to prefetch the pairs of all samples of a chunk before they are used one by one. If the flow jumps
// all over the image, each sample would otherwise wait for a distant cache. A ring that fits in a near cache
// needs no prefetch.
template <class S>
INTERNET_HD bool is_far(int64_t ring_size) {
  return ring_size * int64_t(sizeof(S)) > 1 << 19;
}

}  // namespace internet::cpu::INTERNET_ISA::backwarp
