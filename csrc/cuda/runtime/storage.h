// The four storage types; arithmetic is in float, or in double for double.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "arguments/strided.h"
#include "math/host_device.h"

namespace internet::cuda {

INTERNET_HD float widen(float x) { return x; }
INTERNET_HD double widen(double x) { return x; }
INTERNET_HD float widen(__half x) { return __half2float(x); }
INTERNET_HD float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
INTERNET_HD T narrow(opmath<T> x) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

// Two and four values that are loaded and stored together.
template <class S>
struct alignas(2 * sizeof(S)) Two {
  S first, second;
};
template <class S>
struct alignas(4 * sizeof(S)) Four {
  S first, second, third, fourth;
};

}  // namespace internet::cuda
