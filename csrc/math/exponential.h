// The exponential, for every value type.
#pragma once

#include <cstdint>

#include "value.h"

namespace internet::math {

#if defined(__CUDACC__)
INTERNET_HD float exp_below_88(float x) { return expf(x); }
INTERNET_HD double exp_below_88(double x) { return exp(x); }
#else
// Whether the compiler turns a * b + c into a single operation, rounded once.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool fused_multiply_add = true;
#else
constexpr bool fused_multiply_add = false;
#endif

// An octave is divided into 2^table_bits parts. If one instruction can look up every lane's entry of a table
// in a register, eight parts save two terms of the polynomial.
#if defined(__AVX2__) && defined(__FMA__)
template <class S>
constexpr int table_bits = std::is_same_v<S, float> ? 3 : 0;
#else
template <class S>
constexpr int table_bits = 0;
#endif

// The coefficients of r^2, r^3, ... in e^r, |r| <= ln2 / 2 / 2^bits, after 1 + r: those of the polynomial
// with the smallest maximal relative error (by Remez' exchange algorithm): in float 1.0e-7, with a table
// 2.6e-8, and 3.6e-18 in double.
template <class S, int bits>
struct ExpCoefficients;
template <>
struct ExpCoefficients<float, 0> {
  static constexpr float of[] = {0.499992315f, 0.166671147f, 0.0418901568f, 0.00831252009f};
};
template <>
struct ExpCoefficients<float, 3> {
  static constexpr float of[] = {0.500064536f, 0.166668586f};
};
template <>
struct ExpCoefficients<double, 0> {
  static constexpr double of[] = {0.5000000000000010627067,     0.1666666666666641251539,
                                  0.04166666666653015908249,    0.0083333333334944675334,
                                  0.00138888889436299898419,    0.0001984126950656400092888,
                                  0.00002480149309903041786803, 0.000002755758638842914441953,
                                  2.763024833611640594829e-7,   2.500005660451325803554e-8};
};

// Entry j, added to j << 20, gives the bits of 2^(j/8) minus those of 1.
alignas(32) constexpr int32_t octave_eighths[8] = {0,        -0x46a3e, -0x7c810, -0xa0129,
                                                   -0xafb0d, -0xa98d6, -0x8bb03, -0x53f39};

// Each lane's entry of the table, selected by the low three bits of its index.
template <class I>
INTERNET_HD I looked_up(const int32_t (&table)[8], I index) {
#if defined(__AVX512F__)  // masked by all ones: see cpu/simd/simd.h
  if constexpr (sizeof(I) == 64) {
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(table));
    const __m512i both = _mm512_maskz_broadcast_i64x4(0xff, half);
    return I(_mm512_maskz_permutexvar_epi32(0xffff, __m512i(index), both));
  }
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(I) == 32) {
    const __m256i entries = _mm256_load_si256(reinterpret_cast<const __m256i*>(table));
    return I(_mm256_permutevar8x32_epi32(entries, __m256i(index)));
  }
#endif
  if constexpr (std::is_arithmetic_v<I>) {
    return table[index & 7];
  } else {
    for (int i = 0; i < Value<I>::lanes; ++i) index[i] = table[index[i] & 7];
    return index;
  }
}

// e^x for x up to 88 in float and 709 in double, above which it would overflow. The relative error is a few
// ulp; the result is zero where e^x is below half of the smallest normal number, and NaN for NaN.
//
// Cody and Waite: x = n ln2 / 2^b + r with |r| <= ln2 / 2 / 2^b, e^x = 2^(n / 2^b) e^r. n >> b and the bias
// of the exponent, shifted into place, are the bits of a power of two, to which the table adds the fraction;
// the smallest n makes them those of 0.
//
// The end is written as p + p (e^r - 1), where the products do not depend on each other as in Horner's
// scheme.
template <class V>
INTERNET_HD V exp_below_88(V x) {
  using S = ScalarOf<V>;
  using I = typename Value<V>::Integer;
  constexpr bool is_double = sizeof(S) == 8;
  constexpr int bits = table_bits<S>, parts = 1 << bits;
  constexpr int mantissa_bits = is_double ? 52 : 23;
  constexpr int bias = is_double ? 1023 : 127;
  constexpr S per_part = S(1.44269504088896340736) * parts;
  constexpr S ln2 = S(0.693147180559945309417);
  // Adding 1.5 * 2^mantissa_bits rounds to an integer, left in the low bits of the sum.
  constexpr S rounder = (is_double ? S(6755399441055744.0) : S(12582912.0)) + S(bias * parts);
  const V smallest = splat<V>(-bias * ln2);

  V clamped = larger(smallest, x);
  V shifted = clamped * per_part + rounder;
  V n = shifted - rounder;
  V r;
  if constexpr (fused_multiply_add && !is_double) {  // ln2's rounding changes r by 3e-9 x, less than x's own
    r = clamped - n * (ln2 / parts);
  } else {  // ln2 in two parts, the first short enough that n times it is exact
    constexpr S ln2_hi = is_double ? S(0.693147180369123816490) : S(0.693359375);
    constexpr S ln2_lo = is_double ? S(1.90821492927058770002e-10) : S(-2.12194440e-4);
    r = clamped - n * ln2_hi;
    r = r - n * ln2_lo;
  }
  using C = ExpCoefficients<S, bits>;
  constexpr int terms = sizeof(C::of) / sizeof(S);
  V sum = splat<V>(C::of[terms - 1]);
#pragma GCC unroll 16
  for (int k = terms - 2; k >= 0; --k) sum = sum * r + C::of[k];
  const V above_1 = r * r * sum + r;
  const I index = __builtin_bit_cast(I, shifted);
  I scale = index << (mantissa_bits - bits);
  if constexpr (bits == 3) scale = scale + looked_up(octave_eighths, index);
  const V power = __builtin_bit_cast(V, scale);
  return power * above_1 + power;
}
#endif

}  // namespace internet::math
