// The value types the arithmetic is written for: float, double, or a SIMD vector of either.
//
// Every formula of csrc/math is a template over one value type V. CUDA instantiates it with float or
// double, the tests with double, the CPU kernels with a vector of several pixels. Operators (+, <, ?:)
// mean the same for all of them; what the language does not give is here.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "host_device.h"

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

// Of the next three, a NaN in x comes out as `bound`, like fmin and fmax.
template <class V>
INTERNET_HD V at_least(V x, ScalarOf<V> bound) {
  V b = splat<V>(bound);
  return select(x > b, x, b);
}
template <class V>
INTERNET_HD V at_most(V x, ScalarOf<V> bound) {
  V b = splat<V>(bound);
  return select(x < b, x, b);
}
template <class V>
INTERNET_HD V larger(V a, V b) {
  return select(a > b, a, b);
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
    V y;
    for (int i = 0; i < Value<V>::lanes; ++i) y[i] = std::sqrt(x[i]);
    return y;
  }
}

#if defined(__CUDACC__)
INTERNET_HD float exp_of_nonpositive(float x) { return expf(x); }
INTERNET_HD double exp_of_nonpositive(double x) { return exp(x); }
#else
// 1/k! for k = 0..terms.
template <class S, int terms>
struct Reciprocals {
  S of_factorial[terms + 1];
  constexpr Reciprocals() : of_factorial{} {
    double factorial = 1;
    for (int k = 0; k <= terms; factorial *= ++k) of_factorial[k] = S(1 / factorial);
  }
};

// e^x for x <= 0, as softmax needs it: relative error of a few ulp, exact zero below the smallest normal
// number, NaN for NaN.
//
// Cody and Waite: x = n ln2 + r with |r| <= ln2 / 2, e^x = 2^n e^r. ln2 is split in two so that n * hi is
// exact; e^r is its Taylor sum, whose first term left out is below half an ulp; 2^n is added to the
// exponent's bits.
template <class V>
INTERNET_HD V exp_of_nonpositive(V x) {
  using S = ScalarOf<V>;
  using I = typename Value<V>::Integer;
  constexpr bool is_double = sizeof(S) == 8;
  constexpr int mantissa_bits = is_double ? 52 : 23;
  constexpr int terms = is_double ? 13 : 7;
  constexpr S log2_e = S(1.44269504088896340736);
  constexpr S ln2_hi = is_double ? S(0.693147180369123816490) : S(0.693359375);
  constexpr S ln2_lo = is_double ? S(1.90821492927058770002e-10) : S(-2.12194440e-4);
  constexpr S smallest = is_double ? S(-708.0) : S(-87.0);
  // Adding 1.5 * 2^mantissa_bits rounds to an integer, left in the low bits of the sum.
  constexpr S rounder = is_double ? S(6755399441055744.0) : S(12582912.0);

  V clamped = select(x < splat<V>(smallest), splat<V>(smallest), x);
  V shifted = clamped * log2_e + rounder;
  V n = shifted - rounder;
  V r = clamped - n * ln2_hi;
  r = r - n * ln2_lo;
  constexpr Reciprocals<S, terms> reciprocal;
  V sum = splat<V>(reciprocal.of_factorial[terms]);
#pragma GCC unroll 16
  for (int k = terms - 1; k >= 0; --k) sum = sum * r + reciprocal.of_factorial[k];
  V scaled = __builtin_bit_cast(
      V, I(__builtin_bit_cast(I, sum) + (__builtin_bit_cast(I, shifted) << mantissa_bits)));
  scaled = select(x < splat<V>(smallest), splat<V>(0), scaled);
  return select(x != x, x, scaled);
}
#endif

}  // namespace internet::math
