// The mask at full resolution, one row at a time, and the adjoint of its upsampling for a row's gradient.
#pragma once

#include "cpu/masked_backwarp_loss/chunk.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/upsample_rows.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

template <class T>
class MaskRows {
  using S = opmath<T>;

 public:
  explicit MaskRows(const BackwarpInputs<T>& in)
      : in_(in),
        scratch_(in.width),
        fine_(whole_vectors<S>(in.width)),
        gradient_(whole_vectors<S>(in.width)) {
    for (int64_t x = 0; x < whole_vectors<S>(in.width); ++x) fine_.data()[x] = 1;
  }
  // Row y of image b, 1 if there is no mask. Can be read in whole vectors.
  const S* at(int64_t b, int64_t y) {
    if (in_.mask.data != nullptr) {
      const auto& mask = in_.mask;
      const CoarseMap<S> map = {mask.data + b * mask.stride[0], mask.stride[2], mask.stride[3],
                                in_.height / in_.mask_ratio(), in_.width / in_.mask_ratio()};
      upsample_row(map, in_.mask_ratio(), y, scratch_.data(), fine_.data());
    }
    return fine_.data();
  }
  // The gradient of a row, to be filled in whole vectors and then downsampled.
  S* gradient() { return gradient_.data(); }
  void fold_gradient(S* coarse) {
    fold_along(gradient_.data(), in_.mask_ratio(), in_.width / in_.mask_ratio(), scratch_.data(), coarse);
  }

 private:
  const BackwarpInputs<T>& in_;
  Scratch<S> scratch_, fine_, gradient_;
};

}  // namespace internet::cpu::INTERNET_ISA::backwarp
