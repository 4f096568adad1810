// __half: two bytes, converted from float (rounded to nearest even) and to float.
#pragma once

#include <bit>
#include <cstdint>

struct __half {
  uint16_t bits;
};

inline float __half2float(__half h) { return float(std::bit_cast<_Float16>(h)); }
inline __half __float2half_rn(float x) { return std::bit_cast<__half>(_Float16(x)); }
