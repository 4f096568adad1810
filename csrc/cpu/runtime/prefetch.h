// Asking for memory before it is needed.
#pragma once

#include <cstdint>
#include <type_traits>

#include "math/host_device.h"

namespace internet::cpu {

// Which cache to prefetch into, as __builtin_prefetch numbers them.
enum class Cache : int { second = 2, first = 3 };

// Prefetches the cache lines of `count` values from p on; to write to them, unless they are const. It must be
// inlined: gcc considers a function that only prefetches to have no effect, and drops the calls.
template <Cache cache, class T>
INTERNET_HD void prefetch(T* p, int64_t count) {
  constexpr int64_t line = 64 / int64_t(sizeof(T));
  for (int64_t i = 0; i < count; i += line) {
    __builtin_prefetch(p + i, std::is_const_v<T> ? 0 : 1, int(cache));
  }
}

}  // namespace internet::cpu
