// The two 16-bit floating-point types, as storage: values are widened to float before any arithmetic.
// The conversions are branch-free bit manipulation, so that loops over them vectorise on every machine.
#pragma once

#include <cstdint>

#include "../math/host_device.h"

namespace internet::cpu {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

INTERNET_HD float widen(BFloat16 h) { return __builtin_bit_cast(float, uint32_t(h.bits) << 16); }

// To nearest, ties to even; a NaN stays a (quiet) NaN.
INTERNET_HD BFloat16 narrow_to_bfloat16(float f) {
  uint32_t u = __builtin_bit_cast(uint32_t, f);
  uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return {uint16_t(f != f ? 0x7fc0u : rounded)};
}

// The 15 bits below the sign, moved to a float's place, are the number times 2^-112: one multiplication
// restores the exponent and normalises subnormal numbers alike. Infinity and NaN need the full exponent.
// The product of a subnormal half is a normal float, but its factor is not: flushing denormals would
// lose it, so a subnormal goes through its integer value instead.
INTERNET_HD float widen(Half h) {
  uint32_t magnitude = h.bits & 0x7fffu;
  uint32_t sign = uint32_t(h.bits & 0x8000u) << 16;
  float normal = __builtin_bit_cast(float, (magnitude << 13) + (112u << 23));
  float subnormal = float(int32_t(magnitude)) * 0x1p-24f;
  float special = __builtin_bit_cast(float, (magnitude << 13) | 0x7f800000u);
  float value = magnitude < 0x400u ? subnormal : (magnitude >= 0x7c00u ? special : normal);
  return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, value) | sign);
}

// To nearest, ties to even; overflow to infinity; subnormal results by letting float addition round at
// the right place.
INTERNET_HD Half narrow_to_half(float f) {
  uint32_t u = __builtin_bit_cast(uint32_t, f);
  uint32_t sign = (u >> 16) & 0x8000u;
  uint32_t magnitude = u & 0x7fffffffu;
  uint32_t odd = (magnitude >> 13) & 1u;
  uint32_t normal = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  float aligned = __builtin_bit_cast(float, magnitude) + 0.5f;
  uint32_t subnormal = __builtin_bit_cast(uint32_t, aligned) - 0x3f000000u;
  uint32_t finite = magnitude < (113u << 23) ? subnormal : normal;
  uint32_t infinite = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return {uint16_t(sign | (magnitude >= 0x47800000u ? infinite : finite))};
}

}  // namespace internet::cpu
