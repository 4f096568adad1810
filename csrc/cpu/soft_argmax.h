// Parameters of the soft-argmax kernels. A plane is cut into groups of whole rows. The forward task sums one
// group of up to four anchors (neighbours in channels_last); the caller adds the groups up in order. The
// backward task writes the gradients of one group of all anchors: a shared map gets the sum over them.
#pragma once

#include "../math/soft_argmax.h"
#include "../strided.h"
#include "isa.h"
#include "simd.h"

namespace internet::cpu {

constexpr int64_t anchors_per_task = 4;

struct HeatPartial {
  double largest;  // the group's largest logit: the sums are relative to it
  math::HeatSums<double> sums;
};

template <class T>
struct HeatMaps {
  Strided<const T, 4> logits;  // (B, K, H, W)
  Strided<const T, 5> map;     // (B, K, 4, H, W); no data: none; shared: stride 0 along K
  int64_t anchors, height, width;
  int64_t rows_per_group, groups;
  opmath<T> per_temperature;
  bool shared_map, align_corners;
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
  Strided<T, 4> grad_logits;
  Strided<T, 5> grad_map;  // shared: (B, 1, 4, H, W)
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(soft_argmax_forward, SoftArgmaxForward)
INTERNET_DECLARE_KERNEL(soft_argmax_backward, SoftArgmaxBackward)
