// A tensor as a kernel sees it: a pointer and a stride for each axis, in elements.
#pragma once

#include <cstdint>

namespace internet {

template <class T, int N>
struct Strided {
  T* data = nullptr;
  int64_t stride[N] = {};
};

}  // namespace internet
