// How threads add to the sums of gradient_sums.h.
#pragma once

#include "cuda/runtime/pointers.h"
#include "cuda/runtime/vectors.h"
#include "cuda/scatter/gradient_sums.h"

namespace internet::cuda {

// In two's complement, adding unsigned integers also adds signed ones.
using FixedPoint = unsigned long long;

template <class S>
class GradAccumulator {
 public:
  __device__ __forceinline__ explicit GradAccumulator(const GradientSums& sums)
      : data_(sums.data), scale_(sums.scale == nullptr ? 0 : *sums.scale) {}

  // The same sums, starting at a later element.
  __device__ __forceinline__ GradAccumulator from(int64_t offset) const {
    GradAccumulator moved = *this;
    const int64_t bytes = offset * int64_t(scale_ == 0 ? sizeof(S) : sizeof(FixedPoint));
    moved.data_ = computed(static_cast<char*>(data_) + bytes);
    return moved;
  }

  // `offset` in elements.
  __device__ __forceinline__ void add(int64_t offset, S value) const {
    scale_ == 0 ? add<false>(offset, value) : add<true>(offset, value);
  }
  // For kernels that are compiled for either form of the sums.
  template <bool fixed_point>
  __device__ __forceinline__ void add(int64_t offset, S value) const {
    if constexpr (!fixed_point) {
      atomicAdd(static_cast<S*>(data_) + offset, value);
    } else if (isfinite(value)) {
      atomicAdd(static_cast<FixedPoint*>(data_) + offset, FixedPoint(__double2ll_rn(double(value) * scale_)));
    } else {
      atomicMax(static_cast<long long*>(data_) + offset, static_cast<long long>(fixed_point_not_finite));
    }
  }

 private:
  void* data_;
  double scale_;
};

}  // namespace internet::cuda
