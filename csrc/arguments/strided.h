// A tensor as a kernel sees it: a pointer and a stride for each axis, in elements.
#pragma once

#include <cstdint>
#include <type_traits>

namespace internet {

// The type that values stored as T are computed in: float for all but double.
template <class T>
using opmath = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T, int N>
struct Strided {
  T* data = nullptr;
  int64_t stride[N] = {};
};

}  // namespace internet
