// The vector at a row's end, which may not be full.
#pragma once

#include "cpu/simd/simd.h"

namespace internet::cpu {

// The first `count` of N consecutive values, widened, and `filler` in the remaining lanes. With AVX-512, by a
// mask; otherwise assembled from halves in registers: through memory, the vector's load would wait for
// several stores.
template <int N, class T>
INTERNET_HD Vec<opmath<T>, N> load_first(const T* p, int count, opmath<T> filler) {
  using V = Vec<opmath<T>, N>;
  if (count >= N) return load<N>(p);
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16) {
    return _mm512_mask_loadu_ps(math::splat<V>(filler), __mmask16((1u << count) - 1), p);
  } else if constexpr (std::is_same_v<T, double> && N == 8) {
    return _mm512_mask_loadu_pd(math::splat<V>(filler), __mmask8((1u << count) - 1), p);
  }
#endif
  if constexpr (N == 4) {
    V v = math::splat<V>(filler);
    if (count > 0) v[0] = widen(p[0]);
    if (count > 1) v[1] = widen(p[1]);
    if (count > 2) v[2] = widen(p[2]);
    return v;
  } else {
    constexpr int half = N / 2;
    if (count <= half) {
      return joined(load_first<half>(p, count, filler), math::splat<Vec<opmath<T>, half>>(filler));
    }
    return joined(load<half>(p), load_first<half>(p + half, count - half, filler));
  }
}

template <int N, class T>
INTERNET_HD void store_first(T* p, int count, Vec<opmath<T>, N> v) {
  if (count >= N) return store<N>(p, v);
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16) {
    return _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), v);
  } else if constexpr (std::is_same_v<T, double> && N == 8) {
    return _mm512_mask_storeu_pd(p, __mmask8((1u << count) - 1), v);
  }
#endif
  if constexpr (N == 4) {
    if (count > 0) p[0] = narrow<T>(v[0]);
    if (count > 1) p[1] = narrow<T>(v[1]);
    if (count > 2) p[2] = narrow<T>(v[2]);
  } else {
    constexpr int half = N / 2;
    if (count <= half) return store_first<half>(p, count, half_of<0>(v));
    store<half>(p, half_of<0>(v));
    store_first<half>(p + half, count - half, half_of<1>(v));
  }
}

}  // namespace internet::cpu
