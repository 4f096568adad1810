// Neighbouring values loaded and stored at once, as numbers of the type they are computed in.
//
// Loads are of data that nothing writes while the kernel runs, and say so (__ldg): the compiler may then
// move them ahead of stores and atomics, so that more of them are in flight.
#pragma once

#include <cuda_runtime.h>

#include "storage.h"

namespace internet::cuda {

template <class T>
__device__ __forceinline__ opmath<T> load(const T* p) {
  return widen(__ldg(p));
}

// A number for a generic lambda to have at compile time.
template <int n>
using Constant = std::integral_constant<int, n>;

template <class S, int N>
struct Values {
  S value[N];

  // this += weight * v
  __device__ __forceinline__ void add(S weight, const Values& v) {
#pragma unroll
    for (int i = 0; i < N; ++i) value[i] += weight * v.value[i];
  }
  __device__ __forceinline__ S dot(const Values& v) const {
    S sum = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) sum += value[i] * v.value[i];
    return sum;
  }
};

template <int bytes>
using Bytes = std::conditional_t<bytes == 16, uint4, uint2>;

// N values in 8 or 16 bytes, so aligned.
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T value[N];
};

template <int N, class T>
__device__ __forceinline__ Values<opmath<T>, N> load(const T* p) {
  using Whole = Bytes<N * sizeof(T)>;
  static_assert(sizeof(Whole) == sizeof(Pack<T, N>));
  const Whole bytes = __ldg(reinterpret_cast<const Whole*>(p));
  const auto& pack = reinterpret_cast<const Pack<T, N>&>(bytes);
  Values<opmath<T>, N> v;
#pragma unroll
  for (int i = 0; i < N; ++i) v.value[i] = widen(pack.value[i]);
  return v;
}

template <int N, class T>
__device__ __forceinline__ void store(T* p, const Values<opmath<T>, N>& v) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.value[i] = narrow<T>(v.value[i]);
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

}  // namespace internet::cuda
