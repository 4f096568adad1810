// Runs of neighbouring pixels of a row, in a heat map and in its Jacobian map. A run, or the four numbers of
// a pixel of the map if they are neighbours, is loaded at once.
#pragma once

#include "cuda/runtime/storage.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {

// The first pixel of a run; rows are counted through the slices.
struct Place {
  int64_t row, column;

  INTERNET_MEMBER Place(int64_t pixel, int64_t width) : row(pixel / width), column(pixel - row * width) {}
  INTERNET_MEMBER void advance(int64_t pixels, int64_t width) {
    column += pixels;
    while (column >= width) {
      column -= width;
      ++row;
    }
  }
};

// A row: its slice, and its number in that slice.
struct SliceRow {
  int64_t slice, row;
};
template <class T, int N>
INTERNET_HD SliceRow slice_row(const HeatMaps<T, N>& in, const Place& at) {
  if constexpr (N == 2) {
    return {0, at.row};
  } else {
    const int64_t slice = at.row / in.grid.height();
    return {slice, at.row - slice * in.grid.height()};
  }
}

// The coordinates of the pixels of a run: x of its first pixel; y and z of its row.
template <class S, int N>
struct RunCoordinates {
  S x_start, x_step, of_row[N - 1];

  INTERNET_MEMBER S x(int i) const { return S(i) * x_step + x_start; }
};

INTERNET_HD bool is_multiple(const void* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

// Four values at once, converted to their arithmetic type.
template <class T>
INTERNET_HD void load_four(const T* from, opmath<T> (&value)[4]) {
  const auto v = *reinterpret_cast<const Four<T>*>(from);
  value[0] = widen(v.first);
  value[1] = widen(v.second);
  value[2] = widen(v.third);
  value[3] = widen(v.fourth);
}
template <class T>
INTERNET_HD void store_four(T* to, const opmath<T> (&value)[4]) {
  *reinterpret_cast<Four<T>*>(to) = {narrow<T>(value[0]), narrow<T>(value[1]), narrow<T>(value[2]),
                                     narrow<T>(value[3])};
}

// A run of values, one for each pixel.
template <int run, class U>
struct Line {
  using T = std::remove_const_t<U>;
  using S = opmath<T>;
  U* first;
  int64_t column_stride;

  INTERNET_MEMBER bool as_four() const {
    return run == 4 && column_stride == 1 && is_multiple(first, sizeof(Four<T>));
  }
  INTERNET_MEMBER void load(S (&value)[run]) const {
    if constexpr (run == 4) {
      if (as_four()) return load_four(first, value);
    }
#pragma unroll
    for (int i = 0; i < run; ++i) value[i] = widen(first[i * column_stride]);
  }
  INTERNET_MEMBER void store(const S (&value)[run]) const {
    if constexpr (run == 4) {
      if (as_four()) return store_four(first, value);
    }
#pragma unroll
    for (int i = 0; i < run; ++i) first[i * column_stride] = narrow<T>(value[i]);
  }
};

template <int run, class U, class T, int N>
INTERNET_HD Line<run, U> line(const HeatMaps<T, N>& in, const Strided<U, 5>& logits, int64_t image,
                              int64_t anchor, const Place& at) {
  const auto& s = logits.stride;
  const SliceRow row = slice_row(in, at);
  return {logits.data + image * s[0] + anchor * s[1] + row.slice * s[2] + row.row * s[3] + at.column * s[4],
          s[4]};
}

// A run of a Jacobian map: an N x N matrix for each pixel.
template <int run, class U, int N>
struct MapLine {
  static constexpr int entries = N * N;
  using T = std::remove_const_t<U>;
  using S = opmath<T>;
  U* first;
  int64_t component_stride, column_stride;

  INTERNET_MEMBER bool as_four() const {
    return run == 1 && entries == 4 && component_stride == 1 && is_multiple(first, sizeof(Four<T>));
  }
  INTERNET_MEMBER Line<run, U> component(int c) const {
    return {first + c * component_stride, column_stride};
  }

  INTERNET_MEMBER void load(S (&value)[run][entries]) const {
    if constexpr (run == 1 && entries == 4) {
      if (as_four()) return load_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < entries; ++c) {
      S numbers[run];
      component(c).load(numbers);
#pragma unroll
      for (int i = 0; i < run; ++i) value[i][c] = numbers[i];
    }
  }
  INTERNET_MEMBER void store(const S (&value)[run][entries]) const {
    if constexpr (run == 1 && entries == 4) {
      if (as_four()) return store_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < entries; ++c) {
      S numbers[run];
#pragma unroll
      for (int i = 0; i < run; ++i) numbers[i] = value[i][c];
      component(c).store(numbers);
    }
  }
};

template <int run, class U, class T, int N>
INTERNET_HD MapLine<run, U, N> line(const HeatMaps<T, N>& in, const Strided<U, 6>& map, int64_t image,
                                    int64_t anchor, const Place& at) {
  const auto& s = map.stride;
  const SliceRow row = slice_row(in, at);
  return {map.data + image * s[0] + anchor * s[1] + row.slice * s[3] + row.row * s[4] + at.column * s[5],
          s[2], s[5]};
}

template <class T, int N>
INTERNET_HD RunCoordinates<opmath<T>, N> coordinates(const HeatMaps<T, N>& in, const Place& at) {
  using S = opmath<T>;
  const SliceRow row = slice_row(in, at);
  RunCoordinates<S, N> z;
  z.x_step = in.grid.step[0];
  z.x_start = S(at.column) * in.grid.step[0] + in.grid.start[0];
  z.of_row[0] = S(row.row) * in.grid.step[1] + in.grid.start[1];
  if constexpr (N == 3) z.of_row[1] = S(row.slice) * in.grid.step[2] + in.grid.start[2];
  return z;
}

}  // namespace internet::cuda
