// A tensor as kernels access it: a pointer, and a stride for each axis in elements.
#pragma once

#include <cstdint>
#include <type_traits>

namespace internet {

// The arithmetic type for values stored as T: float, or double for double.
template <class T>
using opmath = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T, int N>
struct Strided {
  T* data = nullptr;
  int64_t stride[N] = {};
};

}  // namespace internet
