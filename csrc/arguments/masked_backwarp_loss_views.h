// The inputs of masked_backwarp_loss, as its kernels receive them.
#pragma once

#include "arguments/strided.h"
#include "math/masked_backwarp_loss.h"

namespace internet {

template <class T>
struct BackwarpInputs {
  using S = opmath<T>;
  int64_t batch, channels, height, width;
  Strided<const T, 4> output;  // (B, C, H, W)
  Strided<const T, 4> target;  // (B, C, H, W)
  Strided<const S, 4> flow;    // (B, 2, H, W), pixels, x first
  Strided<const S, 4> mask;    // (B, 1, H >> mask_steps, W >> mask_steps); no data: 1 everywhere
  int mask_steps;
  math::Penalty norm;
  math::Padding padding;

  INTERNET_MEMBER int64_t mask_ratio() const { return int64_t(1) << mask_steps; }
};

}  // namespace internet
