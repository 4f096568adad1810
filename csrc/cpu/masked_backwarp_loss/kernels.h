// Parameters of the kernels of the masked back-warping loss.
#pragma once

#include <cstdint>

#include "arguments/masked_backwarp_loss_views.h"
#include "cpu/runtime/isa.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/simd.h"

namespace internet::cpu {

// Tasks: batch * height, one for each row of the flow.
template <class T>
struct BackwarpRowRanges {
  BackwarpInputs<T> in;
  RowRange* ranges;  // (B,H)
};

// The loss, its gradients, or both in one pass. Tasks: batch * bands. An image is cut into bands of rows, and
// a task owns one: its rows of every result. No result depends on how many bands there are.
template <class T>
struct MaskedBackwarpLoss {
  using S = opmath<T>;
  BackwarpInputs<T> in;
  int64_t bands;
  const RowRange*
      ranges;  // (B,H); null if bands share no rows, so that each task can find the ranges of its own
  // Null where not wanted.
  double* row_loss;               // (B,H), the sum of each row
  S* local;                       // (B,1,H,W) contiguous, the loss summed over channels
  Strided<const S, 4> grad_loss;  // (B,1,H,W), or one value with strides 0; times grad_scale
  double grad_scale;
  Strided<S, 4> grad_output;
  Strided<S, 4> grad_target;
  S* grad_flow;  // (B,2,H,W) contiguous
  S* grad_mask;  // (B,1,H,W/ratio) contiguous: downsampled along the rows, not yet along the columns

  bool with_gradients() const {
    return grad_output.data != nullptr || grad_target.data != nullptr || grad_flow != nullptr ||
           grad_mask != nullptr;
  }
};

// The remaining part of the adjoint of the mask's upsampling. Tasks: batch * height, one for each coarse row.
template <class T>
struct BackwarpMaskFold {
  using S = opmath<T>;
  int64_t height, width, ratio;  // of the coarse map
  const S* rows;                 // (B,1,height*ratio,width) contiguous
  S* coarse;                     // (B,1,height,width) contiguous
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(masked_backwarp_loss, MaskedBackwarpLoss)
INTERNET_DECLARE_KERNEL(backwarp_row_ranges, BackwarpRowRanges)
INTERNET_DECLARE_KERNEL(backwarp_mask_fold, BackwarpMaskFold)
