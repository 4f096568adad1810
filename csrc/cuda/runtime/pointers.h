// Pointers into an image that a thread computes once.
#pragma once

#include <cuda_runtime.h>

namespace internet::cuda {

// Keeps the compiler from taking a pointer to global memory apart: it would otherwise add its parts together
// at every use, in 64 bits.
template <class T>
__device__ __forceinline__ T* computed(T* pointer) {
#if defined(__NVCC__)  // the emulation has no registers
  asm("" : "+l"(pointer));
  __builtin_assume(__isGlobal(pointer));
#endif
  return pointer;
}

}  // namespace internet::cuda
