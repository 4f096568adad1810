// Where a function of csrc/math may run.
#pragma once

#if defined(__CUDACC__)
#define INTERNET_HD __host__ __device__ __forceinline__
#else
// Internal linkage and always inlined: the same function is compiled once per instruction set, and a
// weak copy from the AVX-512 object must never be the one the linker keeps for the baseline.
#define INTERNET_HD static inline __attribute__((always_inline))
#endif
