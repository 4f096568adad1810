// Asking for memory before it is needed.
#pragma once

#include <cstdint>
#include <type_traits>

#include "math/host_device.h"

namespace internet::cpu {

// How near to bring it, as __builtin_prefetch counts.
enum class Cache : int { second = 2, first = 3 };

// The cache lines of `count` values from p on; to write to them, unless they are const. It has to be inlined:
// gcc takes a function that only prefetches for one without effect, and drops the calls.
template <Cache cache, class T>
INTERNET_HD void prefetch(T* p, int64_t count) {
  constexpr int64_t line = 64 / int64_t(sizeof(T));
  for (int64_t i = 0; i < count; i += line) {
    __builtin_prefetch(p + i, std::is_const_v<T> ? 0 : 1, int(cache));
  }
}

}  // namespace internet::cpu
