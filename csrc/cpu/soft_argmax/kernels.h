// Parameters of the soft-argmax kernels.
//
// A plane (B, K) is cut into groups of whole rows, small enough that a group's logits are still in the
// first-level cache on the second visit. A forward task sums one group of some anchors, relative to the
// group's own largest logit; the caller adds the groups up in order. A backward task writes the gradients of
// one group of some anchors.
//
// Some: one, so that the tasks run through memory plane by plane; but all that share a map, which is then
// read once and its gradient, a sum over them, written once; and all whose pixels lie side by side.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/soft_argmax.h"

namespace internet::cpu {

// Whether its rows lie in memory as lines of numbers, each number next to the one before.
template <class T, int N>
INTERNET_HD bool has_lines(const Strided<T, N>& t) {
  return t.data == nullptr || t.stride[N - 1] == 1;
}

struct HeatPartial {
  double largest;  // the group's largest logit: the sums are relative to it
  math::HeatSums<double> sums;
};

template <class T>
struct HeatMaps {
  Strided<const T, 4> logits;  // (B, K, H, W)
  Strided<const T, 5> map;     // (B, K, 4, H, W); no data: not read; shared: stride 0 along K
  int64_t anchors, height, width;
  int64_t rows_per_group, anchors_per_task;
  opmath<T> per_temperature;
  bool shared_map, align_corners;

  int64_t groups() const { return (height + rows_per_group - 1) / rows_per_group; }
  int64_t parts() const { return (anchors + anchors_per_task - 1) / anchors_per_task; }
};

template <class T>
struct SoftArgmaxForward {
  HeatMaps<T> in;
  HeatPartial* partials;  // (B, K, groups)
};

template <class T>
struct SoftArgmaxBackward {
  HeatMaps<T> in;
  const math::HeatGradient<opmath<T>>* gradients;  // (B, K)
  Strided<T, 4> grad_logits;                       // no data: not wanted
  Strided<T, 5> grad_map;                          // no data: not wanted; shared: (B, 1, 4, H, W)
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(soft_argmax_forward, SoftArgmaxForward)
INTERNET_DECLARE_KERNEL(soft_argmax_backward, SoftArgmaxBackward)
