// Sums over the lanes of several vectors at a time.
#pragma once

#include <cstring>

#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"

namespace internet::cpu::INTERNET_ISA {

// The sums over the lanes of a, b, c and d, side by side.
template <class S, int N>
INTERNET_HD Vec<S, 4> four_sums(Vec<S, N> a, Vec<S, N> b, Vec<S, N> c, Vec<S, N> d) {
  if constexpr (N > 4) {
    using Half = Vec<S, N / 2>;
    Half halves[4][2];
    std::memcpy(halves[0], &a, sizeof(a));
    std::memcpy(halves[1], &b, sizeof(b));
    std::memcpy(halves[2], &c, sizeof(c));
    std::memcpy(halves[3], &d, sizeof(d));
    return four_sums<S, N / 2>(halves[0][0] + halves[0][1], halves[1][0] + halves[1][1],
                               halves[2][0] + halves[2][1], halves[3][0] + halves[3][1]);
  } else if constexpr (N == 4) {
    const Vec<S, 4> ab =
        __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Vec<S, 4> cd =
        __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  } else {
    return Vec<S, 4>{a[0] + a[1], b[0] + b[1], c[0] + c[1], d[0] + d[1]};
  }
}

}  // namespace internet::cpu::INTERNET_ISA
