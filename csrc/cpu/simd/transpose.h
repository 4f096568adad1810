// Transposes in registers.
#pragma once

#include <utility>

#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"

namespace internet::cpu::INTERNET_ISA {
namespace detail {

// One step of a transpose by butterflies: rows i and i + D swap the lanes that differ in bit D.
template <int D, bool upper, class V, int... I>
INTERNET_HD V butterfly(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  if constexpr (upper) {
    return __builtin_shufflevector(a, b, ((I & D) ? n + I : I + D)...);
  } else {
    return __builtin_shufflevector(a, b, ((I & D) ? n + I - D : I)...);
  }
}

template <int D, class V, size_t R>
INTERNET_HD void butterflies(V (&rows)[R]) {
  if constexpr (D < int(R)) {
    constexpr auto lanes = std::make_integer_sequence<int, math::Value<V>::lanes>();
#pragma GCC unroll 16
    for (int i = 0; i < int(R); ++i) {
      if (i & D) continue;
      const V a = rows[i], b = rows[i + D];
      rows[i] = butterfly<D, false>(a, b, lanes);
      rows[i + D] = butterfly<D, true>(a, b, lanes);
    }
    butterflies<D * 2>(rows);
  }
}

// In every group of four lanes: a0 b0 a1 b1, or a2 b2 a3 b3 if `high`. x86 has an instruction for each.
template <bool high, class V, int... I>
INTERNET_HD V unpack(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / 4 * 4 + I % 4 / 2 + 2 * high + I % 2 * n)...);
}
// In every group of four lanes: a0 a1 b0 b1, or a2 a3 b2 b3.
template <bool high, class V, int... I>
INTERNET_HD V join(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / 4 * 4 + I % 2 + 2 * high + I % 4 / 2 * n)...);
}

template <class V>
INTERNET_HD void transpose_fours(V (&rows)[4]) {
  constexpr auto lanes = std::make_integer_sequence<int, math::Value<V>::lanes>();
  const V a = unpack<false>(rows[0], rows[1], lanes), b = unpack<false>(rows[2], rows[3], lanes);
  const V c = unpack<true>(rows[0], rows[1], lanes), d = unpack<true>(rows[2], rows[3], lanes);
  rows[0] = join<false>(a, b, lanes);
  rows[1] = join<true>(a, b, lanes);
  rows[2] = join<false>(c, d, lanes);
  rows[3] = join<true>(c, d, lanes);
}

}  // namespace detail

// R rows of at least R lanes: each R x R block of them is transposed.
template <class V, size_t R>
INTERNET_HD void transpose(V (&rows)[R]) {
  constexpr int lanes = math::Value<V>::lanes;
  if constexpr (sizeof(V) > vector_bytes &&
                lanes >= 2 * int(R)) {  // more than a register: transposed in halves
    using Half = Vec<math::ScalarOf<V>, lanes / 2>;
    Half halves[2][R];
    for (int i = 0; i < int(R); ++i) {
      halves[0][i] = half_of<0>(rows[i]);
      halves[1][i] = half_of<1>(rows[i]);
    }
    transpose(halves[0]);
    transpose(halves[1]);
    for (int i = 0; i < int(R); ++i) rows[i] = joined(halves[0][i], halves[1][i]);
  } else if constexpr (R == 4) {
    detail::transpose_fours(rows);
  } else {
    detail::butterflies<1>(rows);
  }
}

}  // namespace internet::cpu::INTERNET_ISA
