// Parameters of the affine-mixture kernels, for images (N = 2) and for volumes (N = 3), whose rows are
// numbered slice by slice. A forward task is a row of one image. A backward task is a group of rows, and
// leaves its sums for each anchor in `partials` for the caller to add up in order.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/anchor_affine.h"

namespace internet::cpu {

constexpr int64_t rows_per_group = 8;

// Input of both directions.
template <class T, int N>
struct AffineMixture {
  using S = opmath<T>;
  Strided<const T, N + 2> logits;            // (B, K+1, (D,) H, W)
  const math::Affine<S, N>* affine;          // (B, K)
  const math::Projective<S, N>* background;  // (B); null: the identity
  int64_t anchors;
  int64_t size[N];  // (D,) H, W
  S threshold;
  bool align_corners;

  INTERNET_MEMBER int64_t width() const { return size[N - 1]; }
  INTERNET_MEMBER int64_t rows() const {
    int64_t rows = 1;
    for (int axis = 0; axis < N - 1; ++axis) rows *= size[axis];
    return rows;
  }
  INTERNET_MEMBER int64_t groups() const { return (rows() + rows_per_group - 1) / rows_per_group; }

  // Offset of a row in a tensor whose axes (D,) H have these strides.
  INTERNET_MEMBER int64_t row_offset(int64_t row, const int64_t* strides) const {
    int64_t offset = 0;
    for (int axis = N - 2; axis >= 0; --axis) {
      offset += row % size[axis] * strides[axis];
      row /= size[axis];
    }
    return offset;
  }
};

template <class T, int N>
struct AffineMixtureForward {
  AffineMixture<T, N> mixture;
  opmath<T>* field;  // (B, (D,) H, W, N), contiguous
};

template <class T, int N>
struct AffineMixtureBackward {
  using S = opmath<T>;
  AffineMixture<T, N> mixture;
  Strided<const S, N + 2> grad_field;  // (B, (D,) H, W, N)
  Strided<T, N + 2> grad_logits;       // no data: not wanted
  // (B, groups, K) and (B, groups): gradients with respect to each affine map and the background's
  math::Affine<double, N>* partials;
  math::Projective<double, N>* background_partials;
  bool matrices;  // whether the gradients of the maps' matrices are wanted
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL_OF_AXES(affine_mixture_forward, AffineMixtureForward)
INTERNET_DECLARE_KERNEL_OF_AXES(affine_mixture_backward, AffineMixtureBackward)
