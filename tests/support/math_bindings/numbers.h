// What Python gives and gets: rows of numbers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "math/anchor_features.h"

namespace internet::math {

namespace py = pybind11;

using Numbers = std::vector<double>;

// f(std::integral_constant<int, N>{}), N the one of 2 and 3 for which a row has `size(N)` numbers.
template <class Size, class F>
Numbers with_axes(const Numbers& row, Size size, F f) {
  return row.size() == size_t(size(2)) ? f(std::integral_constant<int, 2>{})
                                       : f(std::integral_constant<int, 3>{});
}
constexpr int anchor_size(int n) { return 2 * n + 2 * n * n; }
constexpr int affine_size(int n) { return n * n + n; }

// An anchor in one row: both key points, then both Jacobians, source first.
template <int N>
Anchor<double, N> anchor_of(const Numbers& row) {
  static_assert(sizeof(Anchor<double, N>) == anchor_size(N) * sizeof(double));
  Anchor<double, N> a;
  std::memcpy(&a, row.data(), sizeof(a));
  return a;
}
// A map: the matrix, then the offset.
template <int N, int M = N>
Affine<double, N, M> affine_of(const Numbers& row) {
  Affine<double, N, M> t;
  std::memcpy(&t, row.data(), sizeof(t));
  return t;
}
template <class Struct>
Numbers numbers_of(const Struct& t) {
  Numbers row(sizeof(t) / sizeof(double));
  std::memcpy(row.data(), &t, sizeof(t));
  return row;
}
template <int N>
Point<double, N> point_of(const Numbers& z) {
  Point<double, N> point;
  std::copy_n(z.data(), N, point.axis);
  return point;
}

// f(N) with the number of axes of a position or a size.
template <class F>
Numbers with_axes_of(const Numbers& position, F f) {
  return with_axes(position, [](int n) { return n; }, f);
}

// f(map) of an affine map, or of a projective one, on N axes.
template <int N, class F>
Numbers with_map(const Numbers& row, F f) {
  return row.size() == size_t(affine_size(N)) ? f(affine_of<N>(row)) : f(affine_of<N, N + 1>(row));
}

template <int N>
Matrix<double, N> matrix_of(const Numbers& row) {
  Matrix<double, N> matrix;
  std::copy_n(row.data(), N * N, matrix.at[0]);
  return matrix;
}

}  // namespace internet::math
