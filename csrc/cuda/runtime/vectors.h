// Neighbouring values that are loaded and stored together, and converted to their arithmetic type.
//
// Loads are of data that nothing writes while the kernel runs, which __ldg tells the compiler: it may then
// move them ahead of stores and atomics, so that more of them are in flight.
#pragma once

#include <cuda_runtime.h>

#include "cuda/runtime/storage.h"

namespace internet::cuda {

template <class T>
__device__ __forceinline__ opmath<T> load(const T* p) {
  return widen(__ldg(p));
}

// A compile-time number, as an argument of generic lambdas.
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

// Values of the widest vector, 16 bytes.
template <class T>
constexpr int vector_length = 16 / sizeof(T);

template <int bytes>
using Bytes = std::conditional_t<bytes == 16, uint4, uint2>;

// N values in 8 or 16 bytes, aligned to their size.
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T value[N];
};

// Values as they were loaded, until they are needed: 16-bit values then take half the registers.
template <class T, int N>
struct Loaded {
  Bytes<N * sizeof(T)> bytes;
};
template <int N, class T>
__device__ __forceinline__ Loaded<T, N> load_packed(const T* p) {
  return {__ldg(reinterpret_cast<const Bytes<N * sizeof(T)>*>(p))};
}

template <class T, int N>
__device__ __forceinline__ Values<opmath<T>, N> widen(const Loaded<T, N>& loaded) {
  static_assert(sizeof(loaded) == sizeof(Pack<T, N>));
  const auto& pack = reinterpret_cast<const Pack<T, N>&>(loaded);
  Values<opmath<T>, N> v;
#pragma unroll
  for (int i = 0; i < N; ++i) v.value[i] = widen(pack.value[i]);
  return v;
}

template <int N, class T>
__device__ __forceinline__ Values<opmath<T>, N> load(const T* p) {
  return widen(load_packed<N>(p));
}

template <int N, class T>
__device__ __forceinline__ void store(T* p, const Values<opmath<T>, N>& v) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.value[i] = narrow<T>(v.value[i]);
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

}  // namespace internet::cuda
