// The value types the arithmetic is written for: float, double, or a SIMD vector of either.
//
// Every formula of csrc/math is a template over one value type V. CUDA instantiates it with float or double,
// the tests with double, the CPU kernels with a vector of several pixels. Operators (+, <, ?:) have the same
// meaning for all of them; functions that the language does not provide are here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "host_device.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace internet::math {

#if defined(__CUDACC__)
template <class V>
struct Value {
  using Scalar = V;
  static constexpr int lanes = 1;
};
#else
template <class T, int N>
struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};

// Scalar type and number of lanes of a value type.
template <class V, bool = std::is_arithmetic_v<V>>
struct Value {
  using Scalar = V;
  static constexpr int lanes = 1;
  using Integer = std::conditional_t<sizeof(V) == 8, int64_t, int32_t>;
};
template <class V>
struct Value<V, false> {
  using Scalar = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;
  static constexpr int lanes = sizeof(V) / sizeof(Scalar);
  using Integer = typename VectorOf<typename Value<Scalar>::Integer, lanes>::type;
};
#endif

template <class V>
using ScalarOf = typename Value<V>::Scalar;

// The scalar in every lane.
template <class V>
INTERNET_HD V splat(ScalarOf<V> s) {
  if constexpr (Value<V>::lanes == 1) {
    return s;
  } else {
    return s - V{};  // s - 0 is s for every s, a negative zero and a NaN included
  }
}

template <class M, class V>
INTERNET_HD V select(M mask, V yes, V no) {
  return mask ? yes : no;
}

// Whether a mask, the result of a comparison, is true in every lane.
template <class M>
INTERNET_HD bool all(M mask) {
  if constexpr (std::is_same_v<M, bool>) {
    return mask;
  } else {
#if defined(__AVX512DQ__)
    if constexpr (sizeof(M) == 64) return _mm512_movepi32_mask(__m512i(mask)) == 0xffff;
#endif
#if defined(__AVX2__)
    if constexpr (sizeof(M) == 32) return _mm256_movemask_epi8(__m256i(mask)) == -1;
#endif
    uint64_t words[sizeof(M) / 8], both = ~uint64_t(0);
    std::memcpy(words, &mask, sizeof(M));
    for (uint64_t word : words) both &= word;
    return both == ~uint64_t(0);
  }
}

// The larger one, b if either is NaN. AVX-512 has an instruction for it, which gcc 12 does not use by itself;
// it is masked by all ones because gcc warns about its own header's unmasked form.
template <class V>
INTERNET_HD V larger(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(ScalarOf<V>) == 4) return _mm512_maskz_max_ps(0xffff, a, b);
  if constexpr (sizeof(V) == 64 && sizeof(ScalarOf<V>) == 8) return _mm512_maskz_max_pd(0xff, a, b);
#endif
  return select(a > b, a, b);
}

// With these two, a NaN in x gives `bound`, like fmin and fmax.
template <class V>
INTERNET_HD V at_least(V x, ScalarOf<V> bound) {
  return larger(x, splat<V>(bound));
}
template <class V>
INTERNET_HD V at_most(V x, ScalarOf<V> bound) {
  V b = splat<V>(bound);
  return select(x < b, x, b);
}

template <class V>
INTERNET_HD V absolute(V x) {
#if defined(__CUDACC__)
  return fabs(x);
#else
  using I = typename Value<V>::Integer;
  return __builtin_bit_cast(V, I(__builtin_bit_cast(I, x) & std::numeric_limits<ScalarOf<I>>::max()));
#endif
}

template <class V>
INTERNET_HD V square_root(V x) {
  if constexpr (Value<V>::lanes == 1) {
    return std::sqrt(x);
  } else {
    for (int i = 0; i < Value<V>::lanes; ++i) x[i] = std::sqrt(x[i]);
    return x;
  }
}

}  // namespace internet::math
