// What threads add to the sums of gradient_sums.h with.
#pragma once

#include "gradient_sums.h"
#include "vectors.h"

namespace internet::cuda {

// Two's complement: a sum of integers does not care that it is called unsigned.
using FixedPoint = unsigned long long;

template <class S>
class GradientAdder {
 public:
  __device__ __forceinline__ explicit GradientAdder(const GradientSums& sums)
      : data_(sums.data), scale_(sums.scale == nullptr ? 0 : *sums.scale) {}

  // The same sums, counted from an element further on.
  __device__ __forceinline__ GradientAdder from(int64_t offset) const {
    GradientAdder moved = *this;
    const int64_t bytes = offset * int64_t(scale_ == 0 ? sizeof(S) : sizeof(FixedPoint));
    moved.data_ = static_cast<char*>(data_) + bytes;
    return moved;
  }

  // `offset` in elements.
  __device__ __forceinline__ void add(int64_t offset, S value) const {
    if (scale_ == 0) {
      atomicAdd(static_cast<S*>(data_) + offset, value);
    } else {
      atomicAdd(static_cast<FixedPoint*>(data_) + offset, FixedPoint(__double2ll_rn(double(value) * scale_)));
    }
  }

  // Neighbours, aligned as a whole: on sm_90 one reduction of 16 bytes, if in float.
  template <int N>
  __device__ __forceinline__ void add(int64_t offset, const Values<S, N>& v) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (std::is_same_v<S, float> && N == 4) {
      if (scale_ == 0) {
        atomicAdd(reinterpret_cast<float4*>(static_cast<S*>(data_) + offset),
                  make_float4(v.value[0], v.value[1], v.value[2], v.value[3]));
        return;
      }
    }
#endif
#pragma unroll
    for (int i = 0; i < N; ++i) add(offset + i, v.value[i]);
  }

 private:
  void* data_;
  double scale_;
};

}  // namespace internet::cuda
