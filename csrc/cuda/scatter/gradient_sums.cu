#include <algorithm>
#include <cfloat>
#include <cmath>

#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"
#include "cuda/scatter/gradient_sums.h"

namespace internet::cuda {
namespace {

template <class S>
INTERNET_HD S larger_magnitude(S largest, S value) {
  const S magnitude = fabs(value);
  return magnitude > largest && magnitude < S(INFINITY) ? magnitude : largest;
}

template <class T>
INTERNET_HD int64_t pixels_of(const Magnitude<T>& p) {
  return p.size[0] * p.size[2] * p.size[3] * p.size[4];
}

// A thread for each pixel, and for every `threads`-th pixel after it. The bits of non-negative doubles are
// ordered like the numbers.
template <class T>
__global__ void magnitude_kernel(Magnitude<T> p) {
  using S = opmath<T>;
  const int64_t threads = int64_t(gridDim.x) * blockDim.x, pixels = pixels_of(p);
  S largest = 0;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < pixels; i += threads) {
    const int64_t line = i / p.size[4], slice = line / p.size[3], image = slice / p.size[2];
    const T* value =
        p.values.data + image * p.values.stride[0] + (slice - image * p.size[2]) * p.values.stride[2] +
        (line - slice * p.size[3]) * p.values.stride[3] + (i - line * p.size[4]) * p.values.stride[4];
#pragma unroll 4
    for (int64_t c = 0; c < p.size[1]; ++c) {
      largest = larger_magnitude(largest, load(value + c * p.values.stride[1]));
    }
  }
  auto bits = static_cast<unsigned long long>(__double_as_longlong(double(largest)));
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(~0u, bits, offset);
    bits = other > bits ? other : bits;
  }
  if (threadIdx.x % warp_size == 0) atomicMax(p.largest, bits);
}

__global__ void scale_kernel(FixedPointScale p) {
  auto largest = [&](int i) { return __longlong_as_double(static_cast<long long>(p.largest[i])); };
  double bound = p.constant * largest(0) * (p.has_mask ? largest(1) : 1.0);
  if (p.squared) bound *= (p.has_mask ? largest(1) : 1.0) * (largest(2) + largest(3));
  int exponent = 0, pixel_bits = 0;  // bound < 2^exponent, pixels <= 2^pixel_bits
  frexp(fmin(bound, DBL_MAX), &exponent);
  while ((int64_t(1) << pixel_bits) < p.pixels) ++pixel_bits;
  const int power = min(fixed_point_bits - pixel_bits - exponent, 1000);
  p.scale[0] = ldexp(1.0, power);
  p.scale[1] = ldexp(1.0, -power);
}

template <class T>
__device__ __forceinline__ T finished(const FinishSums<T>&, opmath<T> sum) {
  return narrow<T>(sum);
}
template <class T>
__device__ __forceinline__ T finished(const FinishSums<T>& p, int64_t sum) {
  return narrow<T>(sum < fixed_point_not_finite / 2 ? opmath<T>(double(sum) * p.scale[1]) : opmath<T>(NAN));
}

// Four neighbouring values per thread.
template <class Sum, class T>
__device__ __forceinline__ void finish(const FinishSums<T>& p, int64_t first) {
  const Sum* sums = static_cast<const Sum*>(p.sums) + first;
  if (first + 4 <= p.count) {
    const auto four = *reinterpret_cast<const Pack<Sum, 4>*>(sums);
    Pack<T, 4> out;
#pragma unroll
    for (int i = 0; i < 4; ++i) out.value[i] = finished(p, four.value[i]);
    *reinterpret_cast<Pack<T, 4>*>(p.gradient + first) = out;
  } else {
    for (int64_t i = 0; first + i < p.count; ++i) p.gradient[first + i] = finished(p, sums[i]);
  }
}

template <class T>
__global__ void finish_kernel(FinishSums<T> p) {
  const int64_t first = 4 * (int64_t(blockIdx.x) * blockDim.x + threadIdx.x);
  p.scale == nullptr ? finish<opmath<T>>(p, first) : finish<int64_t>(p, first);
}

}  // namespace

template <class T>
cudaError_t magnitude(const Magnitude<T>& p, cudaStream_t stream) {
  constexpr int threads = 256;
  constexpr int64_t most_blocks = 2048;  // one atomic operation per warp: not too many
  const int64_t blocks = (pixels_of(p) + threads - 1) / threads;
  return launch(magnitude_kernel<T>, std::min(blocks, most_blocks), threads, 0, stream, p);
}

cudaError_t fixed_point_scale(const FixedPointScale& p, cudaStream_t stream) {
  return launch(scale_kernel, 1, 1, 0, stream, p);
}

template <class T>
cudaError_t finish_sums(const FinishSums<T>& p, cudaStream_t stream) {
  return launch_each(finish_kernel<T>, (p.count + 3) / 4, stream, p);
}

#define INSTANTIATE(T)                                               \
  template cudaError_t magnitude(const Magnitude<T>&, cudaStream_t); \
  template cudaError_t finish_sums(const FinishSums<T>&, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
