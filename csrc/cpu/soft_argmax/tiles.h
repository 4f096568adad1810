// Shared by the passes of soft_argmax: a task's rows as lines of numbers, and the loop over a line in
// vectors.
#pragma once

#include <algorithm>

#include "cpu/runtime/scratch.h"
#include "cpu/simd/few_channels.h"
#include "cpu/simd/row_end.h"
#include "cpu/soft_argmax/kernels.h"
#include "math/bilinear.h"

namespace internet::cpu::INTERNET_ISA::heat {

// Some rows of some channels.
template <class T>
struct Tile {
  T* data = nullptr;
  int64_t channel_stride = 0, row_stride = 0, column_stride = 1;
  int channels = 0;

  INTERNET_MEMBER T* line(int channel, int64_t row) const {
    return data + channel * channel_stride + row * row_stride;
  }
  INTERNET_MEMBER Tile channel(int c) const { return part(c, 1); }
  INTERNET_MEMBER Tile part(int first, int count) const {
    return {line(first, 0), channel_stride, row_stride, column_stride, count};
  }
  INTERNET_MEMBER ImageRow<T> row(int64_t row, int64_t width) const {
    return {line(0, row), channel_stride, column_stride, width, channels};
  }
};

// A task's rows and anchors.
struct Task {
  int64_t image, group, slice, first_row, rows, first_anchor, anchors;

  template <class T, int N>
  INTERNET_MEMBER Task(const HeatMaps<T, N>& in, int64_t index) {
    const int64_t groups = in.groups(), parts = in.parts();
    image = index / (parts * groups);
    group = index % groups;
    slice = group / in.groups_of_slice();
    first_row = group % in.groups_of_slice() * in.rows_per_group;
    rows = std::min(in.rows_per_group, in.height - first_row);
    first_anchor = index / groups % parts * in.anchors_per_task;
    anchors = std::min(in.anchors_per_task, in.anchors - first_anchor);
  }

  // Of `count` anchors, at most four.
  template <class U>
  INTERNET_MEMBER Tile<U> logits(const Strided<U, 5>& t, int64_t anchor, int64_t count) const {
    const auto& s = t.stride;
    return {t.data + image * s[0] + anchor * s[1] + slice * s[2] + first_row * s[3], s[1], s[3], s[4],
            int(count)};
  }
  // The matrices of one anchor.
  template <class U>
  INTERNET_MEMBER Tile<U> map(const Strided<U, 6>& t, int64_t anchor, int entries) const {
    const auto& s = t.stride;
    return {t.data + image * s[0] + anchor * s[1] + slice * s[3] + first_row * s[4], s[2], s[4], s[5],
            entries};
  }
};

// Not inlined: one copy serves all kinds of tasks.
template <class T, class S>
__attribute__((noinline)) void copy(const Tile<const T>& from, const Tile<S>& to, int64_t rows,
                                    int64_t width) {
  for (int c = 0; c < from.channels; c += 4) {
    const auto part = from.part(c, std::min(4, from.channels - c));
    for (int64_t y = 0; y < rows; ++y) {
      read_planes(part.row(y, width), 0, width, to.line(c, y), to.channel_stride);
    }
  }
}
template <class T, class S>
__attribute__((noinline)) void copy_back(const Tile<T>& to, const Tile<S>& from, int64_t rows,
                                         int64_t width) {
  for (int c = 0; c < to.channels; c += 4) {
    const auto part = to.part(c, std::min(4, to.channels - c));
    for (int64_t y = 0; y < rows; ++y) {
      write_planes(part.row(y, width), 0, width, from.line(c, y), from.channel_stride);
    }
  }
}

// A tile's rows as lines of consecutive numbers: in place, or copied and widened, four channels at a time.
template <bool in_place, class T>
class Lines {
  using Number = std::remove_const_t<T>;

 public:
  using U = std::conditional_t<in_place, Number, opmath<Number>>;

  INTERNET_MEMBER Lines(int64_t rows, int64_t width, int channels)
      : rows_(rows),
        width_(width),
        pitch_((width + 3) / 4 * 4),
        copies_(in_place ? 0 : (channels + 3) / 4 * 4 * rows * pitch_) {}

  INTERNET_MEMBER auto of(const Tile<T>& tile) const {
    if constexpr (in_place) {
      return tile;
    } else {
      return copies<std::conditional_t<std::is_const_v<T>, const U, U>>(tile.channels);
    }
  }
  INTERNET_MEMBER auto read(const Tile<T>& tile, int64_t rows) const {
    if constexpr (!in_place) copy(tile, copies<U>(tile.channels), rows, width_);
    return of(tile);
  }
  INTERNET_MEMBER void write(const Tile<T>& tile, int64_t rows) const {
    if constexpr (!in_place) copy_back(tile, copies<U>(tile.channels), rows, width_);
  }

 private:
  template <class W>
  INTERNET_MEMBER Tile<W> copies(int channels) const {
    return {copies_.data(), rows_ * pitch_, pitch_, 1, channels};
  }

  int64_t rows_, width_, pitch_;
  Scratch<opmath<Number>> copies_;
};

template <class S>
constexpr int lanes = native_lanes<S>;
template <class S>
using Native = Vec<S, lanes<S>>;

// Calls f(x, count) for every vector of a line: `count` is a compile-time constant except for the last
// vector, which may not be full.
template <class S, class F>
INTERNET_HD void along(int64_t width, F f) {
  constexpr std::integral_constant<int, lanes<S>> all;
  int64_t x = 0;
  for (; x + lanes<S> <= width; x += lanes<S>) f(x, all);
  if (x < width) f(x, int(width - x));
}

// `count` numbers, and `filler` in the remaining lanes.
template <class T, class Count, class S = opmath<std::remove_const_t<T>>>
INTERNET_HD Native<S> load_some(const T* p, Count count, S filler) {
  if constexpr (!std::is_same_v<Count, int>) {
    return load<lanes<S>>(p);
  } else {
    return load_first<lanes<S>>(p, count, filler);
  }
}
template <class T, class Count, class S = opmath<T>>
INTERNET_HD void store_some(T* p, Count count, Native<S> v) {
  if constexpr (!std::is_same_v<Count, int>) {
    store<lanes<S>>(p, v);
  } else {
    store_first<lanes<S>>(p, count, v);
  }
}

// The coordinates of the pixels. Those of the columns are stored as a line of numbers.
template <class S, int N>
class Coordinates {
 public:
  template <class Maps>
  INTERNET_MEMBER explicit Coordinates(const Maps& in) : x_(in.width + lanes<S>) {
    const int64_t sizes[] = {in.height, in.depth};
    for (int i = 0; i < N - 1; ++i) {
      start_[i] = math::normalized_start(S(sizes[i]), in.align_corners);
      step_[i] = math::normalized_step(S(sizes[i]), in.align_corners);
    }
    const S start = math::normalized_start(S(in.width), in.align_corners);
    const S step = math::normalized_step(S(in.width), in.align_corners);
    for (int64_t i = 0; i < in.width + lanes<S>; ++i) x_[i] = step * S(i) + start;
  }
  INTERNET_MEMBER Native<S> x(int64_t column) const { return load<lanes<S>>(x_.data() + column); }

  // The coordinates of a row: y and, for a volume, z.
  struct OfRow {
    S coordinate[N - 1];
  };
  INTERNET_MEMBER OfRow of_row(int64_t slice, int64_t row) const {
    const int64_t index[] = {row, slice};
    OfRow found;
    for (int i = 0; i < N - 1; ++i) found.coordinate[i] = step_[i] * S(index[i]) + start_[i];
    return found;
  }

 private:
  S start_[N - 1], step_[N - 1];
  Scratch<S> x_;
};

}  // namespace internet::cpu::INTERNET_ISA::heat
