// Where a function of csrc/math may run, and attributes for its compilers.
#pragma once

#if defined(__CUDACC__)
#define INTERNET_MEMBER __host__ __device__ __forceinline__
#define INTERNET_HD __host__ __device__ __forceinline__
#define INTERNET_UNROLL _Pragma("unroll")
#else
// Always inlined, and with internal linkage unless it is a member: the same function is compiled once per
// instruction set, and the linker must never keep a weak copy from the AVX-512 object for all of them.
#define INTERNET_MEMBER inline __attribute__((always_inline))
#define INTERNET_HD static inline __attribute__((always_inline))
#define INTERNET_UNROLL _Pragma("GCC unroll 4")
#endif
