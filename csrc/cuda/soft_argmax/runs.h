// Loads and stores of runs of neighbouring pixels of a row, in heat maps and their Jacobian maps.
//
// Kernels have two variants. In `vectors`, every run of every tensor is one aligned vector. Otherwise its
// values are anywhere, and the last run of a row may be shorter; only the four numbers of a pixel's matrix
// may be a vector.
#pragma once

#include <type_traits>

#include "cuda/runtime/vectors.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {

// A run's values, as they are stored: converting them would wait for them.
template <class T, int run>
struct Run {
  T value[run];
};

// Whether the rows of a tensor are whole vectors.
template <class U, int M>
bool in_vectors(const Strided<U, M>& view, int64_t width) {
  constexpr int length = vector_length<std::remove_const_t<U>>;
  if (view.data == nullptr) return true;
  bool aligned = view.stride[M - 1] == 1 && width % length == 0;
  for (int axis = 0; axis < M - 1; ++axis) aligned = aligned && view.stride[axis] % length == 0;
  return aligned && reinterpret_cast<uintptr_t>(view.data) % 16 == 0;
}

// Where a heat map, or its Jacobian map, begins, and how far a place in it is from there.
template <class U, int M>
INTERNET_HD U* plane_at(const Strided<U, M>& view, int64_t image, int64_t anchor) {
  return view.data + image * view.stride[0] + anchor * view.stride[1];
}
template <class U, int M>
INTERNET_HD int64_t offset(const Strided<U, M>& view, const Place& at) {
  const int64_t* s = view.stride + M - 3;
  return int64_t(at.slice) * s[0] + int64_t(at.row) * s[1] + int64_t(at.column) * s[2];
}

// How many pixels of a run there are: none past the last row.
template <class T, int N>
INTERNET_HD int pixels_of_run(const HeatMaps<T, N>& in, const Place& at) {
  return in.by.inside(at) ? int(in.grid.width()) - int(at.column) : 0;
}

// The first `count` values of a run, or all; the others become `beyond`.
template <bool vectors, int run, class T>
__device__ __forceinline__ Run<T, run> load_run(const T* from, int64_t stride, int count, opmath<T> beyond) {
  Run<T, run> loaded;
  if (!vectors && count >= run) {  // nearly always
#pragma unroll
    for (int i = 0; i < run; ++i) loaded.value[i] = __ldg(from + i * stride);
    return loaded;
  }
#pragma unroll
  for (int i = 0; i < run; ++i) loaded.value[i] = narrow<T>(beyond);
  constexpr int length = vectors ? vector_length<T> : 1;
#pragma unroll
  for (int i = 0; i < run; i += length) {
    if (i >= count) continue;
    if constexpr (vectors) {
      const auto vector = load_packed<length>(from + i);
#pragma unroll
      for (int j = 0; j < length; ++j) loaded.value[i + j] = reinterpret_cast<const T*>(&vector)[j];
    } else {
      loaded.value[i] = __ldg(from + i * stride);
    }
  }
  return loaded;
}
template <bool vectors, int run, class T>
__device__ __forceinline__ void store_run(T* to, int64_t stride, int count, const opmath<T> (&value)[run]) {
  if constexpr (vectors) {
    constexpr int length = vector_length<T>;
#pragma unroll
    for (int i = 0; i < run; i += length) {
      Values<opmath<T>, length> vector;
#pragma unroll
      for (int j = 0; j < length; ++j) vector.value[j] = value[i + j];
      if (i < count) store(to + i, vector);
    }
  } else if (count >= run) {
#pragma unroll
    for (int i = 0; i < run; ++i) to[i * stride] = narrow<T>(value[i]);
  } else {
#pragma unroll
    for (int i = 0; i < run; ++i) {
      if (i < count) to[i * stride] = narrow<T>(value[i]);
    }
  }
}

// A run of matrices: a run of each of the N x N entries.
template <class T, int run, int N>
struct MatrixRun {
  Run<T, run> entry[N * N];
};

// Whether the four entries of a pixel's matrix are a vector, or two.
template <class T>
constexpr int matrix_vector = vector_length<T> < 4 ? vector_length<T> : 4;
template <class U, int N>
INTERNET_HD bool matrices_in_vectors(const Strided<U, 6>& map) {
  using T = std::remove_const_t<U>;
  if (N != 2 || map.stride[2] != 1) return false;
  bool aligned = reinterpret_cast<uintptr_t>(map.data) % (matrix_vector<T> * sizeof(T)) == 0;
  for (int axis = 0; axis < 6; ++axis)
    aligned = aligned && (axis == 2 || map.stride[axis] % matrix_vector<T> == 0);
  return aligned;
}

template <bool vectors, int run, int N, class T>
__device__ __forceinline__ MatrixRun<T, run, N> load_matrices(const Strided<const T, 6>& map, const T* from,
                                                              int count, bool packed) {
  MatrixRun<T, run, N> matrices;
  if constexpr (!vectors && N == 2) {
    if (packed) {
      constexpr int length = matrix_vector<T>;
#pragma unroll
      for (int i = 0; i < run; ++i) {
#pragma unroll
        for (int c = 0; c < 4; c += length) {
          Loaded<T, length> entries{};
          if (i < count) entries = load_packed<length>(from + i * map.stride[5] + c);
#pragma unroll
          for (int j = 0; j < length; ++j) {
            matrices.entry[c + j].value[i] = reinterpret_cast<const T*>(&entries)[j];
          }
        }
      }
      return matrices;
    }
  }
#pragma unroll
  for (int c = 0; c < N * N; ++c) {
    matrices.entry[c] = load_run<vectors, run>(from + c * map.stride[2], map.stride[5], count, opmath<T>(0));
  }
  return matrices;
}
template <bool vectors, int N, int run, class T>
__device__ __forceinline__ void store_matrices(const Strided<T, 6>& map, T* to, int count, bool packed,
                                               const opmath<T> (&value)[N * N][run]) {
  if constexpr (!vectors && N == 2) {
    if (packed) {
      constexpr int length = matrix_vector<T>;
#pragma unroll
      for (int i = 0; i < run; ++i) {
#pragma unroll
        for (int c = 0; c < 4; c += length) {
          Values<opmath<T>, length> entries;
#pragma unroll
          for (int j = 0; j < length; ++j) entries.value[j] = value[c + j][i];
          if (i < count) store(to + i * map.stride[5] + c, entries);
        }
      }
      return;
    }
  }
#pragma unroll
  for (int c = 0; c < N * N; ++c) store_run<vectors>(to + c * map.stride[2], map.stride[5], count, value[c]);
}

// The coordinates of the pixels of a run: x of its first pixel, and y and z of its row.
template <class S, int N>
struct RunCoordinates {
  S x_start, x_step, of_row[N - 1];

  INTERNET_MEMBER S x(int i) const { return S(i) * x_step + x_start; }
};
template <class T, int N>
INTERNET_HD RunCoordinates<opmath<T>, N> coordinates(const HeatMaps<T, N>& in, const Place& at) {
  using S = opmath<T>;
  RunCoordinates<S, N> z;
  z.x_step = in.grid.step[0];
  z.x_start = S(int(at.column)) * in.grid.step[0] + in.grid.start[0];
  z.of_row[0] = S(int(at.row)) * in.grid.step[1] + in.grid.start[1];
  if constexpr (N == 3) z.of_row[1] = S(int(at.slice)) * in.grid.step[2] + in.grid.start[2];
  return z;
}

}  // namespace internet::cuda
