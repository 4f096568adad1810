// What the kernels of the masked back-warping loss are given: pointers, strides in elements, sizes.
#pragma once

#include <cstdint>

#include "../math/masked_backwarp_loss.h"
#include "../strided.h"
#include "isa.h"
#include "simd.h"

namespace internet::cpu {

// Rows that one task of the forward pass sums; part of the result, as any order of summation is.
constexpr int64_t backwarp_rows_per_task = 64;

// The rows of the output image that one row of the flow reads, both included.
struct RowRange {
  int32_t first, last;
};

template <class T>
struct BackwarpInputs {
  using S = opmath<T>;
  int64_t batch, channels, height, width;
  Strided<const T, 4> output;  // (B,C,H,W)
  Strided<const T, 4> target;  // (B,C,H,W)
  Strided<const S, 4> flow;    // (B,2,H,W), pixels, x first
  Strided<const S, 4> mask;    // (B,1,H/ratio,W/ratio), or null: 1 everywhere
  int64_t mask_ratio;
  math::Penalty norm;
  math::Padding padding;
};

// Tasks: batch * ceil(height / backwarp_rows_per_task).
template <class T>
struct MaskedBackwarpLoss {
  BackwarpInputs<T> in;
  double* partial;   // the sum of each task
  opmath<T>* local;  // (B,1,H,W) contiguous, summed over channels; null unless asked for
};

// Tasks: batch * height, one for each row of the flow.
template <class T>
struct BackwarpRowRanges {
  BackwarpInputs<T> in;
  RowRange* ranges;  // (B,H)
};

// Tasks: batch * max_bands. An image is cut in `bands[b]` bands of rows, and a task owns one: its rows of
// every gradient. See BackwarpBands in the glue for how many.
template <class T>
struct MaskedBackwarpLossBackward {
  using S = opmath<T>;
  BackwarpInputs<T> in;
  const RowRange* ranges;  // (B,H)
  const int32_t* bands;    // (B)
  int64_t max_bands;
  Strided<const S, 4> grad_loss;  // (B,1,H,W), or one value with strides 0; times grad_scale
  double grad_scale;
  // Null where not needed.
  Strided<T, 4> grad_output;
  Strided<T, 4> grad_target;
  S* grad_flow;  // (B,2,H,W) contiguous
  S* grad_mask;  // (B,1,H,W) contiguous, at full resolution
};

// The adjoint of the mask's upsampling. Tasks: batch * height / ratio, one for each coarse row.
template <class T>
struct BackwarpMaskFold {
  using S = opmath<T>;
  int64_t height, width, ratio;  // of the coarse map
  const S* fine;                 // (B,1,height*ratio,width*ratio) contiguous
  S* coarse;                     // (B,1,height,width) contiguous
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(masked_backwarp_loss, MaskedBackwarpLoss)
INTERNET_DECLARE_KERNEL(masked_backwarp_loss_backward, MaskedBackwarpLossBackward)
INTERNET_DECLARE_KERNEL(backwarp_row_ranges, BackwarpRowRanges)
INTERNET_DECLARE_KERNEL(backwarp_mask_fold, BackwarpMaskFold)
