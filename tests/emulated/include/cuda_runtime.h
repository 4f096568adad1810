// The part of CUDA that the kernels use, for a host compiler: see ../emulator.h for how threads run.
//
// Undefined behaviour of CUDA is an error here, with a message, wherever it can be detected.
#pragma once

#include <math.h>  // in the global namespace, as in CUDA

#include <algorithm>
#include <bit>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../emulator.h"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
// As many NOPs at the kernel's beginning, which ../kernel_needs.cpp counts. `sizeof`, since g++ wants a
// number here.
#define __launch_bounds__(threads, ...) __attribute__((patchable_function_entry(sizeof(char[threads]))))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __restrict__ __restrict
// One copy for all threads of a block, which run in one thread of the host; emulator.cpp finds all of it as
// the library's thread-local memory, and poisons it.
#define __shared__ thread_local

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

namespace emulated {

// An index that is looked up on every read.
template <const Index& (*index)(), unsigned Index::* member>
struct Component {
  operator unsigned() const { return index().*member; }
};
template <const Index& (*index)()>
struct Vector {
  Component<index, &Index::x> x;
  Component<index, &Index::y> y;
  Component<index, &Index::z> z;
};

inline const Index& thread_index() { return current_thread().index; }
inline const Index& block_index() { return current_block().index; }
inline const Index& block_dim() { return current_block().dim; }
inline const Index& grid_dim() { return current_block().grid; }

}  // namespace emulated

inline constexpr emulated::Vector<emulated::thread_index> threadIdx{};
inline constexpr emulated::Vector<emulated::block_index> blockIdx{};
inline constexpr emulated::Vector<emulated::block_dim> blockDim{};
inline constexpr emulated::Vector<emulated::grid_dim> gridDim{};

// ---- barriers, shuffles and votes: calls are matched by their place in the source

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulated::block_barrier({file, line});
}
inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  emulated::warp_exchange({file, line}, mask, nullptr, 0, 0);
}

namespace emulated {

// A lane's value, and the lane whose value it reads.
template <class T>
T shuffle(Site site, unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= largest_shuffle && std::is_trivially_copyable_v<T>);
  warp_exchange(site, mask, &value, sizeof(T), source);
  return value;
}

// The lane `offset` away in the same part of `width` lanes, or the lane itself.
inline int neighbour(int offset, int width) {
  const int lane = lane_of_current_thread(), first = lane & ~(width - 1), source = lane + offset;
  return source < first || source >= first + width ? lane : source;
}

// One bit for every lane of the mask.
inline unsigned votes(Site site, unsigned mask, bool vote) {
  unsigned found = 0;
  for (int lane = 0; lane < warp_size; ++lane) {
    if (mask >> lane & 1) found |= unsigned(shuffle(site, mask, int(vote), lane)) << lane;
  }
  return found;
}

}  // namespace emulated

#define EMULATED_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATED_SITE) {
  const int first = emulated::lane_of_current_thread() & ~(width - 1);
  return emulated::shuffle({file, line}, mask, value, first + (source & (width - 1)));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_SITE) {
  return emulated::shuffle({file, line}, mask, value, emulated::neighbour(-int(delta), width));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_SITE) {
  return emulated::shuffle({file, line}, mask, value, emulated::neighbour(int(delta), width));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMULATED_SITE) {
  const int lane = emulated::lane_of_current_thread(), source = lane ^ bits;
  const bool beyond = (source & ~(width - 1)) > (lane & ~(width - 1));
  return emulated::shuffle({file, line}, mask, value, beyond ? lane : source);
}
inline unsigned __ballot_sync(unsigned mask, int vote, EMULATED_SITE) {
  return emulated::votes({file, line}, mask, vote != 0);
}
inline int __any_sync(unsigned mask, int vote, EMULATED_SITE) {
  return emulated::votes({file, line}, mask, vote != 0) != 0;
}
inline int __all_sync(unsigned mask, int vote, EMULATED_SITE) {
  return emulated::votes({file, line}, mask, vote != 0) == mask;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- memory

template <class T>
const T* emulated_aligned(const T* p, EMULATED_SITE) {
  if (reinterpret_cast<uintptr_t>(p) % alignof(T) != 0) emulated::fail("misaligned access", {file, line});
  return p;
}
template <class T>
T __ldg(const T* p) {
  return *emulated_aligned(p);
}
template <class T>
T __ldcs(const T* p) {
  return *emulated_aligned(p);
}
template <class T>
void __stcs(T* p, T value) {
  emulated_aligned(p);
  *p = value;
}

// Threads take turns only where they wait for each other, so plain arithmetic is atomic.
template <class T, class F>
T emulated_atomic(T* p, F f) {
  emulated_aligned(p);
  const T old = *p;
  *p = f(old);
  return old;
}
inline float atomicAdd(float* p, float v) {
  return emulated_atomic(p, [=](float old) { return old + v; });
}
inline double atomicAdd(double* p, double v) {
  return emulated_atomic(p, [=](double old) { return old + v; });
}
inline int atomicAdd(int* p, int v) {
  return emulated_atomic(p, [=](int old) { return old + v; });
}
inline unsigned atomicAdd(unsigned* p, unsigned v) {
  return emulated_atomic(p, [=](unsigned old) { return old + v; });
}
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  return emulated_atomic(p, [=](unsigned long long old) { return old + v; });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  static_assert(std::is_integral_v<T>, "CUDA has it for integers only");
  return emulated_atomic(p, [=](T old) { return old > v ? old : v; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  static_assert(std::is_integral_v<T>, "CUDA has it for integers only");
  return emulated_atomic(p, [=](T old) { return old < v ? old : v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return emulated_atomic(p, [=](T old) { return T(old | v); });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return emulated_atomic(p, [=](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return emulated_atomic(p, [=](T old) { return old == expected ? v : old; });
}

// ---- numbers

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1; }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }

// Rounds to nearest even; too large values are clamped, and NaN becomes the most negative one, as on the
// device.
inline long long __double2ll_rn(double x) {
  if (!(x > -9223372036854775808.0)) return LLONG_MIN;
  return x >= 9223372036854775808.0 ? LLONG_MAX : static_cast<long long>(std::nearbyint(x));
}

// ---- the host's side

using cudaStream_t = struct CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorLaunchFailure = 719,
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const emulated::Launch launch{
      .name = __PRETTY_FUNCTION__,
      .kernel = reinterpret_cast<const void*>(kernel),
      .grid = {config->gridDim.x, config->gridDim.y, config->gridDim.z},
      .block = {config->blockDim.x, config->blockDim.y, config->blockDim.z},
      .shared_bytes = config->dynamicSmemBytes,
      .stream = config->stream,
  };
  return cudaError_t(emulated::run(launch, [&] { kernel(Parameters(arguments)...); }));
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel kernel, cudaFuncAttribute, int bytes) {
  return cudaError_t(emulated::allow_shared_bytes(reinterpret_cast<const void*>(kernel), bytes));
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  emulated::check_stream(stream);
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height,
                                     cudaStream_t stream) {
  emulated::check_stream(stream);
  for (size_t row = 0; row < height; ++row) std::memset(static_cast<char*>(to) + row * pitch, value, width);
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
