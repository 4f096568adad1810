// Vectors of several pixels or channels, loaded from and stored to any of the four storage types.
// They use the compiler's vector extension: one source serves SSE2, AVX2, AVX-512 and NEON.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "arguments/strided.h"
#include "cpu/simd/half.h"
#include "math/value.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace internet::cpu {

template <class T, int N>
using Vec = typename math::VectorOf<T, N>::type;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// The number of lanes in a full register of T's arithmetic type. In two registers, if one has fewer than
// four: pixels are processed in fours, and loops over vectors then end where loops over pixels do.
template <class T>
constexpr int native_lanes = std::max(4, vector_bytes / int(sizeof(opmath<T>)));

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

namespace detail {

template <int N>
INTERNET_HD Vec<float, N> widen_lanes(const BFloat16* p) {
  Vec<uint16_t, N> bits;
  std::memcpy(&bits, p, sizeof(bits));
  return bfloat16_to_float<Vec<float, N>>(__builtin_convertvector(bits, Vec<uint32_t, N>));
}

template <int N>
INTERNET_HD Vec<float, N> widen_lanes(const Half* p) {
#if defined(__AVX512F__)  // masked by all ones, because gcc warns about its own header's unmasked form
  if constexpr (N == 16) {
    return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
#endif
#if defined(__F16C__)
  if constexpr (N == 8) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  if constexpr (N == 4) return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#endif
  Vec<uint16_t, N> bits;
  std::memcpy(&bits, p, sizeof(bits));
  using F = Vec<float, N>;
  return half_to_float<F, Vec<uint32_t, N>, Vec<int32_t, N>>(__builtin_convertvector(bits, Vec<uint32_t, N>));
}

template <int N>
INTERNET_HD void narrow_lanes(BFloat16* p, Vec<float, N> v) {
  auto bits = float_to_bfloat16<Vec<float, N>, Vec<uint32_t, N>>(v);
  Vec<uint16_t, N> narrow = __builtin_convertvector(bits, Vec<uint16_t, N>);
  std::memcpy(p, &narrow, sizeof(narrow));
}

template <int N>
INTERNET_HD void narrow_lanes(Half* p, Vec<float, N> v) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    __m256i bits = _mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT);
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits);
  }
#endif
#if defined(__F16C__)
  if constexpr (N == 8) {
    return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  if constexpr (N == 4) {
    return _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  auto bits = float_to_half<Vec<float, N>, Vec<uint32_t, N>>(v);
  Vec<uint16_t, N> narrow = __builtin_convertvector(bits, Vec<uint16_t, N>);
  std::memcpy(p, &narrow, sizeof(narrow));
}

}  // namespace detail

// N consecutive values, widened.
template <int N, class T>
INTERNET_HD Vec<opmath<T>, N> load(const T* p) {
  if constexpr (std::is_same_v<T, opmath<T>>) {
    Vec<T, N> v;
    std::memcpy(&v, p, sizeof(v));
    return v;
  } else {
    return detail::widen_lanes<N>(p);
  }
}

template <int N, class T>
INTERNET_HD void store(T* p, Vec<opmath<T>, N> v) {
  if constexpr (std::is_same_v<T, opmath<T>>) {
    std::memcpy(p, &v, sizeof(v));
  } else {
    detail::narrow_lanes<N>(p, v);
  }
}

// 0, 1, 2, ... in the lanes.
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
// Vector `which` of the three that hold a0 b0 c0 a1 b1 c1 ...
template <int which, class V, int... i>
INTERNET_HD V interleaved(V a, V b, V c, std::integer_sequence<int, i...>) {
  constexpr int n = sizeof...(i), first = which * n;
  const V ab = __builtin_shufflevector(a, b, ((first + i) / 3 + ((first + i) % 3 == 1 ? n : 0))...);
  return __builtin_shufflevector(ab, c, ((first + i) % 3 == 2 ? n + (first + i) / 3 : i)...);
}
// The inverse: a (0), b (1) or c (2).
template <int which, class V, int... i>
INTERNET_HD V deinterleaved(V low, V middle, V high, std::integer_sequence<int, i...>) {
  constexpr int n = sizeof...(i);
  const V most = __builtin_shufflevector(low, middle, (3 * i + which < 2 * n ? 3 * i + which : 0)...);
  return __builtin_shufflevector(most, high, (3 * i + which < 2 * n ? i : 3 * i + which - n)...);
}
}  // namespace detail

// Converts between a, b and a0 b0 a1 b1 ..., which is `low` followed by `high`.
template <class V>
INTERNET_HD void interleave(V a, V b, V& low, V& high) {
  detail::interleave(a, b, low, high, std::make_integer_sequence<int, math::Value<V>::lanes>{});
}
template <class V>
INTERNET_HD void deinterleave(V low, V high, V& a, V& b) {
  detail::deinterleave(low, high, a, b, std::make_integer_sequence<int, math::Value<V>::lanes>{});
}

// The same for two or three vectors and as many `packed`.
template <class V>
INTERNET_HD void interleave(const V (&separate)[2], V (&packed)[2]) {
  interleave(separate[0], separate[1], packed[0], packed[1]);
}
template <class V>
INTERNET_HD void interleave(const V (&separate)[3], V (&packed)[3]) {
  constexpr auto lanes = std::make_integer_sequence<int, math::Value<V>::lanes>{};
  packed[0] = detail::interleaved<0>(separate[0], separate[1], separate[2], lanes);
  packed[1] = detail::interleaved<1>(separate[0], separate[1], separate[2], lanes);
  packed[2] = detail::interleaved<2>(separate[0], separate[1], separate[2], lanes);
}
template <class V>
INTERNET_HD void deinterleave(const V (&packed)[2], V (&separate)[2]) {
  deinterleave(packed[0], packed[1], separate[0], separate[1]);
}
template <class V>
INTERNET_HD void deinterleave(const V (&packed)[3], V (&separate)[3]) {
  constexpr auto lanes = std::make_integer_sequence<int, math::Value<V>::lanes>{};
  separate[0] = detail::deinterleaved<0>(packed[0], packed[1], packed[2], lanes);
  separate[1] = detail::deinterleaved<1>(packed[0], packed[1], packed[2], lanes);
  separate[2] = detail::deinterleaved<2>(packed[0], packed[1], packed[2], lanes);
}

namespace detail {
template <int first, class V, int... i>
INTERNET_HD auto lanes_from(V v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(v, v, (first + i)...);
}
template <class V, int... i>
INTERNET_HD auto joined(V low, V high, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(low, high, i...);
}
}  // namespace detail

// The lower (0) or the upper (1) half of a vector, and the vector made of two halves.
template <int which, class V>
INTERNET_HD auto half_of(V v) {
  constexpr int n = math::Value<V>::lanes / 2;
  return detail::lanes_from<which * n>(v, std::make_integer_sequence<int, n>{});
}
template <class V>
INTERNET_HD auto joined(V low, V high) {
  return detail::joined(low, high, std::make_integer_sequence<int, 2 * math::Value<V>::lanes>{});
}

// The sum of the lanes, by halves: the order determines the result, so it is the same on every run.
template <int N, class V>
INTERNET_HD math::ScalarOf<V> sum_of_lanes(V v) {
  if constexpr (N == 1) {
    return v[0];
  } else if constexpr (N == 2) {
    return v[0] + v[1];
  } else {
    return sum_of_lanes<N / 2>(half_of<0>(v) + half_of<1>(v));
  }
}

}  // namespace internet::cpu
