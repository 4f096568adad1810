// Arithmetic on subnormal numbers is up to a hundred times slower, and vanishing gradients are full of them.
// A kernel flushes them to zero while it runs and then restores the thread's setting.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace internet::cpu {

class FlushDenormals {
 public:
#if defined(__x86_64__)
  __attribute__((always_inline)) FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
  __attribute__((always_inline)) ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  uint32_t saved_;
#elif defined(__aarch64__)
  __attribute__((always_inline)) FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | (uint64_t(1) << 24)));
  }
  __attribute__((always_inline)) ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  uint64_t saved_;
#else
  FlushDenormals() {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace internet::cpu
