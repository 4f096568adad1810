// Lanes picked by indices that are known only at run time.
#pragma once

#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"

namespace internet::cpu::INTERNET_ISA {

// How many lanes of T one instruction permutes; 0: none does.
template <class T>
#if defined(__AVX2__)
constexpr int permuted_lanes = std::is_same_v<T, float> ? 8 : 0;
#else
constexpr int permuted_lanes = 0;
#endif

#if defined(__AVX2__)
// Lane i is lane index[i] of v.
INTERNET_HD Vec<float, 8> permute(Vec<float, 8> v, Vec<int32_t, 8> index) {
  return _mm256_permutevar8x32_ps(v, __m256i(index));
}
#endif

}  // namespace internet::cpu::INTERNET_ISA
