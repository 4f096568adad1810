// Vectors of several pixels or channels, loaded from and stored to any of the four storage types.
// They are the compiler's own vector extension: one source serves SSE2, AVX2, AVX-512 and NEON.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../math/value.h"
#include "half.h"

namespace internet::cpu {

// The type a storage type is computed in.
template <class T>
using opmath = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T, int N>
using Vec = typename math::VectorOf<T, N>::type;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// Lanes of a full register of T's arithmetic.
template <class T>
constexpr int native_lanes = vector_bytes / int(sizeof(opmath<T>));

INTERNET_HD float widen(float x) { return x; }
INTERNET_HD double widen(double x) { return x; }

template <class T>
INTERNET_HD T narrow(opmath<T> x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return narrow_to_bfloat16(x);
  } else if constexpr (std::is_same_v<T, Half>) {
    return narrow_to_half(x);
  } else {
    return x;
  }
}

// N consecutive values, widened.
template <int N, class T>
INTERNET_HD Vec<opmath<T>, N> load(const T* p) {
  Vec<opmath<T>, N> v;
  if constexpr (std::is_same_v<T, opmath<T>>) {
    std::memcpy(&v, p, sizeof(v));
  } else {
    opmath<T> lanes[N];
    for (int i = 0; i < N; ++i) lanes[i] = widen(p[i]);
    std::memcpy(&v, lanes, sizeof(v));
  }
  return v;
}

template <int N, class T>
INTERNET_HD void store(T* p, Vec<opmath<T>, N> v) {
  if constexpr (std::is_same_v<T, opmath<T>>) {
    std::memcpy(p, &v, sizeof(v));
  } else {
    opmath<T> lanes[N];
    std::memcpy(lanes, &v, sizeof(v));
    for (int i = 0; i < N; ++i) p[i] = narrow<T>(lanes[i]);
  }
}

// 0, 1, 2, ... lane by lane.
template <class V>
INTERNET_HD V iota() {
  V v{};
  for (int i = 0; i < math::Value<V>::lanes; ++i) v[i] = math::ScalarOf<V>(i);
  return v;
}

namespace detail {
template <class V, int... i>
INTERNET_HD void interleave(V a, V b, V& low, V& high, std::integer_sequence<int, i...>) {
  constexpr int n = sizeof...(i);
  low = __builtin_shufflevector(a, b, (i / 2 + i % 2 * n)...);
  high = __builtin_shufflevector(a, b, (n / 2 + i / 2 + i % 2 * n)...);
}
template <class V, int... i>
INTERNET_HD void deinterleave(V low, V high, V& a, V& b, std::integer_sequence<int, i...>) {
  a = __builtin_shufflevector(low, high, (2 * i)...);
  b = __builtin_shufflevector(low, high, (2 * i + 1)...);
}
}  // namespace detail

// Between a, b and a0 b0 a1 b1 ..., which is `low` followed by `high`.
template <class V>
INTERNET_HD void interleave(V a, V b, V& low, V& high) {
  detail::interleave(a, b, low, high, std::make_integer_sequence<int, math::Value<V>::lanes>{});
}
template <class V>
INTERNET_HD void deinterleave(V low, V high, V& a, V& b) {
  detail::deinterleave(low, high, a, b, std::make_integer_sequence<int, math::Value<V>::lanes>{});
}

// The sum of the lanes, halves first: the order is part of the result, and the same on every run.
template <int N, class V>
INTERNET_HD math::ScalarOf<V> sum_of_lanes(V v) {
  math::ScalarOf<V> lanes[N];
  std::memcpy(lanes, &v, sizeof(v));
#pragma GCC unroll 8
  for (int half = N / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace internet::cpu
