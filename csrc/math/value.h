// The value types the arithmetic is written for: float, double, or a SIMD vector of either.
//
// Every formula of csrc/math is a template over one value type V. CUDA instantiates it with float or
// double, the tests with double, the CPU kernels with a vector of several pixels. Operators (+, <, ?:)
// mean the same for all of them; what the language does not give is here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "host_device.h"

#if defined(__AVX512F__)
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

// Whether a mask, which is what a comparison gives, is true in every lane.
template <class M>
INTERNET_HD bool all(M mask) {
  if constexpr (std::is_same_v<M, bool>) {
    return mask;
  } else {
    uint64_t words[sizeof(M) / 8], both = ~uint64_t(0);
    std::memcpy(words, &mask, sizeof(M));
    for (uint64_t word : words) both &= word;
    return both == ~uint64_t(0);
  }
}

// The larger one, b if either is NaN.
template <class V>
INTERNET_HD V larger(V a, V b) {
#if defined(__AVX512F__)  // one instruction, which gcc 12 does not find; masked by all ones: see cpu/simd.h
  if constexpr (sizeof(V) == 64 && sizeof(ScalarOf<V>) == 4) return _mm512_maskz_max_ps(0xffff, a, b);
  if constexpr (sizeof(V) == 64 && sizeof(ScalarOf<V>) == 8) return _mm512_maskz_max_pd(0xff, a, b);
#endif
  return select(a > b, a, b);
}

// Of these two, a NaN in x comes out as `bound`, like fmin and fmax.
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
  return select(x < splat<V>(0), -x, x);
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

#if defined(__CUDACC__)
INTERNET_HD float exp_of_nonpositive(float x) { return expf(x); }
INTERNET_HD double exp_of_nonpositive(double x) { return exp(x); }
#else
// Whether the compiler makes a * b + c one operation, rounded once.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool fused_multiply_add = true;
#else
constexpr bool fused_multiply_add = false;
#endif

// The coefficients of r^2, r^3, ... in e^r, |r| <= ln2 / 2, after 1 + r: those of the polynomial whose
// largest relative error is the least (by Remez' exchange), 1.0e-7 in float and 3.6e-18 in double.
template <class S>
struct ExpCoefficients;
template <>
struct ExpCoefficients<float> {
  static constexpr float of[] = {0.499992315f, 0.166671147f, 0.0418901568f, 0.00831252009f};
};
template <>
struct ExpCoefficients<double> {
  static constexpr double of[] = {0.5000000000000010627067,     0.1666666666666641251539,
                                  0.04166666666653015908249,    0.0083333333334944675334,
                                  0.00138888889436299898419,    0.0001984126950656400092888,
                                  0.00002480149309903041786803, 0.000002755758638842914441953,
                                  2.763024833611640594829e-7,   2.500005660451325803554e-8};
};

// e^x for x <= 0, as softmax needs it (and up to 88 in float, 709 in double, beyond which it would have to
// overflow): relative error of a few ulp, zero where e^x is below the normal numbers by a factor 2, NaN for
// NaN.
//
// Cody and Waite: x = n ln2 + r with |r| <= ln2 / 2, e^x = 2^n e^r. The bits of 2^n are n and the bias of the
// exponent, shifted into place; the least n makes them those of 0.
template <class V>
INTERNET_HD V exp_of_nonpositive(V x) {
  using S = ScalarOf<V>;
  using I = typename Value<V>::Integer;
  constexpr bool is_double = sizeof(S) == 8;
  constexpr int mantissa_bits = is_double ? 52 : 23;
  constexpr int bias = is_double ? 1023 : 127;
  constexpr S log2_e = S(1.44269504088896340736);
  constexpr S ln2 = S(0.693147180559945309417);
  // Adding 1.5 * 2^mantissa_bits rounds to an integer, left in the low bits of the sum.
  constexpr S rounder = (is_double ? S(6755399441055744.0) : S(12582912.0)) + S(bias);
  const V smallest = splat<V>(-bias * ln2);

  V clamped = larger(smallest, x);
  V shifted = clamped * log2_e + rounder;
  V n = shifted - rounder;
  V r;
  if constexpr (fused_multiply_add && !is_double) {  // ln2's rounding moves r by 3e-9 x, less than x's own
    r = clamped - n * ln2;
  } else {  // ln2 in two parts, the first so short that n times it is exact
    constexpr S ln2_hi = is_double ? S(0.693147180369123816490) : S(0.693359375);
    constexpr S ln2_lo = is_double ? S(1.90821492927058770002e-10) : S(-2.12194440e-4);
    r = clamped - n * ln2_hi;
    r = r - n * ln2_lo;
  }
  using C = ExpCoefficients<S>;
  constexpr int terms = sizeof(C::of) / sizeof(S);
  V sum = splat<V>(C::of[terms - 1]);
#pragma GCC unroll 16
  for (int k = terms - 2; k >= 0; --k) sum = sum * r + C::of[k];
  sum = sum * r + S(1);
  sum = sum * r + S(1);
  return sum * __builtin_bit_cast(V, I(__builtin_bit_cast(I, shifted) << mantissa_bits));
}
#endif

}  // namespace internet::math
