// Every kernel is compiled once per instruction set, and the best one for the machine is selected at run
// time.
#pragma once

#include <cstdint>

#include "cpu/simd/half.h"

// The instruction set of this object file, defined by the build for each <stem>.kernel.cpp.
#ifndef INTERNET_ISA
#define INTERNET_ISA baseline
#endif

namespace internet::cpu {

enum class Isa : int { baseline = 0, avx2 = 1, avx512 = 2 };

// The best instruction set of this machine, or the one named by INTERNET_CPU_ISA=baseline|avx2|avx512. Throws
// std::runtime_error if that is unknown or this machine does not support it.
Isa chosen_isa();

template <class P>
using Kernel = void (*)(const P&, int64_t begin, int64_t end);

}  // namespace internet::cpu

// INTERNET_DECLARE_KERNEL(f, P) declares, in the namespace of each instruction set,
//     template <class T> void f(const P<T>& params, int64_t begin, int64_t end);
// which does the tasks begin..end-1, and f_kernel<T>(), which returns the selected one. For kernels that
// serve images (N = 2) and volumes (N = 3), INTERNET_DECLARE_KERNEL_OF_AXES(f, P) declares
//     template <class T, int N> void f(const P<T, N>& params, int64_t begin, int64_t end);
#define INTERNET_DECLARE_KERNEL(f, P) INTERNET_DECLARE_KERNEL_FOR(f, P, (class T), (T))
#define INTERNET_DECLARE_KERNEL_OF_AXES(f, P) INTERNET_DECLARE_KERNEL_FOR(f, P, (class T, int N), (T, N))

#define INTERNET_UNWRAP(...) __VA_ARGS__
#define INTERNET_DECLARE_KERNEL_IN(isa, f, P, parameters, arguments)              \
  namespace internet::cpu::isa {                                                  \
  template <INTERNET_UNWRAP parameters>                                           \
  void f(const P<INTERNET_UNWRAP arguments>& params, int64_t begin, int64_t end); \
  }
#if defined(__x86_64__)
#define INTERNET_DECLARE_KERNEL_FOR(f, P, parameters, arguments)    \
  INTERNET_DECLARE_KERNEL_IN(baseline, f, P, parameters, arguments) \
  INTERNET_DECLARE_KERNEL_IN(avx2, f, P, parameters, arguments)     \
  INTERNET_DECLARE_KERNEL_IN(avx512, f, P, parameters, arguments)   \
  namespace internet::cpu {                                         \
  template <INTERNET_UNWRAP parameters>                             \
  Kernel<P<INTERNET_UNWRAP arguments>> f##_kernel() {               \
    switch (chosen_isa()) {                                         \
      case Isa::avx512:                                             \
        return avx512::f<INTERNET_UNWRAP arguments>;                \
      case Isa::avx2:                                               \
        return avx2::f<INTERNET_UNWRAP arguments>;                  \
      default:                                                      \
        return baseline::f<INTERNET_UNWRAP arguments>;              \
    }                                                               \
  }                                                                 \
  }
#else
#define INTERNET_DECLARE_KERNEL_FOR(f, P, parameters, arguments)    \
  INTERNET_DECLARE_KERNEL_IN(baseline, f, P, parameters, arguments) \
  namespace internet::cpu {                                         \
  template <INTERNET_UNWRAP parameters>                             \
  Kernel<P<INTERNET_UNWRAP arguments>> f##_kernel() {               \
    return baseline::f<INTERNET_UNWRAP arguments>;                  \
  }                                                                 \
  }
#endif

// To be used at the end of a kernel file, inside namespace internet::cpu::INTERNET_ISA.
#define INTERNET_INSTANTIATE_KERNEL(f, P)                          \
  template void f<float>(const P<float>&, int64_t, int64_t);       \
  template void f<double>(const P<double>&, int64_t, int64_t);     \
  template void f<BFloat16>(const P<BFloat16>&, int64_t, int64_t); \
  template void f<Half>(const P<Half>&, int64_t, int64_t);
#define INTERNET_INSTANTIATE_KERNEL_OF(f, P, N)                          \
  template void f<float, N>(const P<float, N>&, int64_t, int64_t);       \
  template void f<double, N>(const P<double, N>&, int64_t, int64_t);     \
  template void f<BFloat16, N>(const P<BFloat16, N>&, int64_t, int64_t); \
  template void f<Half, N>(const P<Half, N>&, int64_t, int64_t);
#define INTERNET_INSTANTIATE_KERNEL_OF_AXES(f, P) \
  INTERNET_INSTANTIATE_KERNEL_OF(f, P, 2)         \
  INTERNET_INSTANTIATE_KERNEL_OF(f, P, 3)
