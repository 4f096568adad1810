// The vector at a row's end, which may not be full.
#pragma once

#include "cpu/simd/simd.h"

namespace internet::cpu {

// The first `count` of N consecutive values, widened, and `filler` in the remaining lanes. Assembled from
// halves in registers: through memory, the vector's load would wait for several stores.
template <int N, class T>
INTERNET_HD Vec<opmath<T>, N> load_first(const T* p, int count, opmath<T> filler) {
  using V = Vec<opmath<T>, N>;
  if (count >= N) return load<N>(p);
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
