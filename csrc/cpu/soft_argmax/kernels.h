// Parameters of the soft-argmax kernels.
//
// An image is a volume of one slice. A heat map of (B, K) is cut into groups of whole rows of a slice, small
// enough that a group's logits are still in the first-level cache on the second visit. A forward task sums
// one group for some anchors, relative to the group's own largest logit; the caller adds up the groups in
// order. Covariance tasks and backward tasks, which write gradients, are divided likewise.
//
// "Some" anchors are one, so that the tasks run through memory plane by plane; but all anchors if they share
// a map, which is then read once and its gradient, a sum over them, written once; and all anchors if the
// values of each pixel lie side by side.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/soft_argmax.h"

namespace internet::cpu {

// Whether its rows lie in memory as lines of consecutive numbers.
template <class T, int N>
INTERNET_HD bool has_lines(const Strided<T, N>& t) {
  return t.data == nullptr || t.stride[N - 1] == 1;
}

template <int N>
struct HeatPartial {
  double largest;  // the group's largest logit: the sums are relative to it
  math::HeatSums<double, N> sums;
};

template <class T, int N>
struct HeatMaps {
  Strided<const T, 5> logits;  // (B, K, D, H, W)
  Strided<const T, 6> map;     // (B, K, N * N, D, H, W); no data: not read; shared: stride 0 along K
  int64_t anchors, depth, height, width;
  int64_t rows_per_group, anchors_per_task;
  opmath<T> per_temperature;
  bool shared_map, align_corners;

  int64_t groups_of_slice() const { return (height + rows_per_group - 1) / rows_per_group; }
  int64_t groups() const { return depth * groups_of_slice(); }
  int64_t parts() const { return (anchors + anchors_per_task - 1) / anchors_per_task; }
};

template <class T, int N>
struct SoftArgmaxForward {
  HeatMaps<T, N> in;
  HeatPartial<N>* partials;  // (B, K, groups)
};

template <class T, int N>
struct SoftArgmaxCovariance {
  HeatMaps<T, N> in;                               // without a map
  const math::HeatGradient<opmath<T>, N>* points;  // (B, K): the reference and the position of each
  math::HeatMoments<double, N>* partials;          // (B, K, groups), relative to the reference
};

template <class T, int N>
struct SoftArgmaxBackward {
  HeatMaps<T, N> in;
  const math::HeatGradient<opmath<T>, N>* gradients;  // (B, K)
  Strided<T, 5> grad_logits;                          // no data: not wanted
  Strided<T, 6> grad_map;                             // no data: not wanted; shared: stride 0 along K
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL_OF_AXES(soft_argmax_forward, SoftArgmaxForward)
INTERNET_DECLARE_KERNEL_OF_AXES(soft_argmax_covariance, SoftArgmaxCovariance)
INTERNET_DECLARE_KERNEL_OF_AXES(soft_argmax_backward, SoftArgmaxBackward)
