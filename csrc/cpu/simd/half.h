// The two 16-bit floating-point types, for storage only: values are widened to float before any arithmetic.
//
// The conversions are branch-free arithmetic on bits, written once for a scalar (U = uint32_t, F = float) and
// for vectors of them; x86 converts Half vectors in one instruction where it can.
#pragma once

#include <cstdint>

#include "math/host_device.h"

namespace internet::cpu {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

namespace detail {

template <class F, class U>
INTERNET_HD F bfloat16_to_float(U bits) {
  return __builtin_bit_cast(F, U(bits << 16));
}

// To nearest, ties to even; a NaN stays a (quiet) NaN.
template <class F, class U>
INTERNET_HD U float_to_bfloat16(F f) {
  U u = __builtin_bit_cast(U, f);
  U rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return f != f ? (u & 0u) + 0x7fc0u : rounded;
}

// The 15 bits below the sign, moved to a float's position, are the number times 2^-112; adding 112 to the
// exponent corrects that. Infinity and NaN need the full exponent instead. A subnormal number is its bits
// times 2^-24 (the same trick would go through a subnormal float, which may be flushed to zero).
template <class F, class U, class I>
INTERNET_HD F half_to_float(U bits) {
  U magnitude = bits & 0x7fffu;
  U sign = (bits & 0x8000u) << 16;
  U normal = (magnitude << 13) + (112u << 23);
  U special = (magnitude << 13) | 0x7f800000u;
  F subnormal;
  if constexpr (sizeof(F) == sizeof(float)) {
    subnormal = F(I(magnitude)) * 0x1p-24f;
  } else {
    subnormal = __builtin_convertvector(I(magnitude), F) * 0x1p-24f;
  }
  U value = magnitude >= 0x7c00u ? special : normal;
  value = magnitude < 0x400u ? __builtin_bit_cast(U, subnormal) : value;
  return __builtin_bit_cast(F, U(value | sign));
}

// To nearest, ties to even; overflow to infinity. For a subnormal result, adding 1/2, whose last bit is worth
// 2^-24, makes the addition round at the right place.
template <class F, class U>
INTERNET_HD U float_to_half(F f) {
  U u = __builtin_bit_cast(U, f);
  U sign = (u >> 16) & 0x8000u;
  U magnitude = u & 0x7fffffffu;
  U normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  U subnormal = __builtin_bit_cast(U, F(__builtin_bit_cast(F, magnitude) + 0.5f)) - 0x3f000000u;
  U result = magnitude < (113u << 23) ? subnormal : normal;
  result = magnitude >= 0x47800000u ? (u & 0u) + 0x7c00u : result;
  result = magnitude > 0x7f800000u ? (u & 0u) + 0x7e00u : result;
  return sign | result;
}

}  // namespace detail

INTERNET_HD float widen(BFloat16 h) { return detail::bfloat16_to_float<float, uint32_t>(h.bits); }
INTERNET_HD float widen(Half h) { return detail::half_to_float<float, uint32_t, int32_t>(h.bits); }
INTERNET_HD BFloat16 narrow_to_bfloat16(float f) {
  return {uint16_t(detail::float_to_bfloat16<float, uint32_t>(f))};
}
INTERNET_HD Half narrow_to_half(float f) { return {uint16_t(detail::float_to_half<float, uint32_t>(f))}; }

}  // namespace internet::cpu
