// Every kernel is compiled once per instruction set, and the best one the machine has is taken at run time.
#pragma once

#include <cstdint>

#include "cpu/simd/half.h"

// The instruction set of this object, as the build defines it for each <stem>.kernel.cpp.
#ifndef INTERNET_ISA
#define INTERNET_ISA baseline
#endif

namespace internet::cpu {

enum class Isa : int { baseline = 0, avx2 = 1, avx512 = 2 };

// The best instruction set of this machine, or the one that INTERNET_CPU_ISA=baseline|avx2|avx512 names.
// Throws std::runtime_error if that one is unknown or this machine does not have it.
Isa chosen_isa();

template <class P>
using Kernel = void (*)(const P&, int64_t begin, int64_t end);

}  // namespace internet::cpu

// INTERNET_DECLARE_KERNEL(f, P) declares, in the namespace of each instruction set,
//     template <class T> void f(const P<T>& params, int64_t begin, int64_t end);
// which does the tasks begin..end-1, and f_kernel<T>(), which returns the chosen one.
#if defined(__x86_64__)
#define INTERNET_DECLARE_KERNEL(f, P)                     \
  namespace internet::cpu::baseline {                     \
  template <class T>                                      \
  void f(const P<T>& params, int64_t begin, int64_t end); \
  }                                                       \
  namespace internet::cpu::avx2 {                         \
  template <class T>                                      \
  void f(const P<T>& params, int64_t begin, int64_t end); \
  }                                                       \
  namespace internet::cpu::avx512 {                       \
  template <class T>                                      \
  void f(const P<T>& params, int64_t begin, int64_t end); \
  }                                                       \
  namespace internet::cpu {                               \
  template <class T>                                      \
  Kernel<P<T>> f##_kernel() {                             \
    switch (chosen_isa()) {                               \
      case Isa::avx512:                                   \
        return avx512::f<T>;                              \
      case Isa::avx2:                                     \
        return avx2::f<T>;                                \
      default:                                            \
        return baseline::f<T>;                            \
    }                                                     \
  }                                                       \
  }
#else
#define INTERNET_DECLARE_KERNEL(f, P)                     \
  namespace internet::cpu::baseline {                     \
  template <class T>                                      \
  void f(const P<T>& params, int64_t begin, int64_t end); \
  }                                                       \
  namespace internet::cpu {                               \
  template <class T>                                      \
  Kernel<P<T>> f##_kernel() {                             \
    return baseline::f<T>;                                \
  }                                                       \
  }
#endif

// At the end of a kernel file, inside namespace internet::cpu::INTERNET_ISA.
#define INTERNET_INSTANTIATE_KERNEL(f, P)                          \
  template void f<float>(const P<float>&, int64_t, int64_t);       \
  template void f<double>(const P<double>&, int64_t, int64_t);     \
  template void f<BFloat16>(const P<BFloat16>&, int64_t, int64_t); \
  template void f<Half>(const P<Half>&, int64_t, int64_t);
