// Adding up the gradient of an image that many threads sample: where, with what, and what comes of it.
//
// Each output pixel contributes to four pixels of the image, which are not known beforehand. The sums are
// kept in one of two forms:
//
// * In S, by floating-point atomics. The order in which they arrive, and so the rounding, is not the same
//   every time. Data of 16 bits is summed in float beside the gradient and rounded once at the end: sums in
//   bfloat16 would round at each of the four or more additions, and stop growing at 256 equal summands.
// * In 64-bit fixed point, where the order does not matter: bitwise repeatable. The unit is the smallest
//   power of two such that no sum can overflow, found on the device: with M a bound on an output pixel's
//   contribution and n such pixels, 2^60 units are at least n M. So a summand is rounded by less than 2^-59 n
//   M; for n = 512 x 512, by 2^-41 M, where float's sums are rounded by 2^-24 of what they are. A summand
//   that is not finite lifts its sum to 2^62, from where the others cannot bring it back below 2^61: such a
//   sum becomes NaN. M is a bound on the finite ones.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "arguments/strided.h"

namespace internet::cuda {

// The sums, as kernels add to them; (images, channels, H, W) of S, or of int64_t if there is a scale.
struct GradientSums {
  void* data = nullptr;  // null: not wanted
  int64_t stride[4] = {};
  const double* scale = nullptr;  // units of fixed point in 1
};

constexpr int fixed_point_bits = 60;  // and a sign
constexpr int64_t fixed_point_not_finite = int64_t(1) << 62;

// The largest finite magnitude in a tensor (images, channels, D, H, W) is brought into `largest`, the bits of
// a double that start as zero.
template <class T>
struct Magnitude {
  Strided<const T, 5> values;
  int64_t size[5];
  unsigned long long* largest;
};

// What bounds the contributions of an output pixel: constant * gradient * mask, and for a penalty that grows
// as the square of the residual again * mask * (output + target). Each is the largest magnitude of a tensor.
struct FixedPointScale {
  const unsigned long long* largest;  // gradient, mask, output, target
  double constant;
  bool has_mask, squared;
  int64_t pixels;  // that contribute, in an image
  double* scale;   // units in 1; and its reciprocal
};

// From sums in float or, if there is a scale, in fixed point to the gradient, in the order they lie in. Both
// begin at a multiple of four values' size.
template <class T>
struct FinishSums {
  const void* sums;
  const double* scale;
  T* gradient;
  int64_t count;
};

template <class T>
cudaError_t magnitude(const Magnitude<T>& params, cudaStream_t stream);
cudaError_t fixed_point_scale(const FixedPointScale& params, cudaStream_t stream);
template <class T>
cudaError_t finish_sums(const FinishSums<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
