// Parameters of the affine-mixture kernels. A forward task is a row of one image; a backward task is a group
// of rows, whose sums for each anchor it leaves in `partials` for the caller to add up in order.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/anchor_affine.h"

namespace internet::cpu {

constexpr int64_t rows_per_group = 8;

template <class T>
struct AffineMixtureForward {
  using S = opmath<T>;
  Strided<const T, 4> logits;     // (B, K+1, H, W)
  const math::Affine<S>* affine;  // (B, K)
  S* field;                       // (B, H, W, 2), contiguous
  int64_t anchors, height, width;
  S threshold;
  bool align_corners;
};

template <class T>
struct AffineMixtureBackward {
  using S = opmath<T>;
  Strided<const T, 4> logits;
  Strided<const S, 4> grad_field;  // (B, H, W, 2)
  const math::Affine<S>* affine;
  Strided<T, 4> grad_logits;       // no data: not wanted
  math::Affine<double>* partials;  // (B, groups, K): gradient with respect to each affine map
  int64_t anchors, height, width;
  S threshold;
  bool align_corners;
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(affine_mixture_forward, AffineMixtureForward)
INTERNET_DECLARE_KERNEL(affine_mixture_backward, AffineMixtureBackward)
