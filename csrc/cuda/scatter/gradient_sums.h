// Summing the gradient of an image that many threads sample: where, in which form, and the conversion at the
// end.
//
// Each output pixel contributes to four pixels of the image, which are not known beforehand. The sums have
// one of two forms:
//
// * In S, by floating-point atomics. Their order, and therefore the rounding, differs from run to run. For
//   16-bit data the sums are in float, in memory of their own, and rounded once at the end: sums in bfloat16
//   would be rounded at each of the four or more additions, and stop growing after 256 equal summands.
// * In 64-bit fixed point, where the order does not matter: bitwise repeatable. The unit is the smallest
//   power of two for which no sum can overflow, determined on the device: if M bounds the contribution of an
//   output pixel, and n pixels contribute, 2^60 units are at least n M. So a summand is rounded by less than
//   2^-59 n M; for n = 512 x 512, by 2^-41 M, while sums in float are rounded by 2^-24 of their value. A
//   summand that is not finite raises its sum to 2^62, and the others cannot bring it back below 2^61: such a
//   sum becomes NaN. M bounds the finite contributions.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "arguments/strided.h"

namespace internet::cuda {

// The sums, as kernels add to them: (images, channels, H, W) of S, or of int64_t if there is a scale.
struct GradientSums {
  void* data = nullptr;  // null: not wanted
  int64_t stride[4] = {};
  const double* scale = nullptr;  // fixed-point units in 1
};

constexpr int fixed_point_bits = 60;  // without the sign
constexpr int64_t fixed_point_not_finite = int64_t(1) << 62;

// Raises `largest`, which must start as zero, to the largest finite magnitude in a tensor (images, channels,
// D, H, W), as the bits of a double.
template <class T>
struct Magnitude {
  Strided<const T, 5> values;
  int64_t size[5];
  unsigned long long* largest;
};

// Computes the scale from a bound on the contributions of an output pixel: constant * gradient * mask and,
// for a penalty that grows as the square of the residual, also * mask * (output + target). Each stands for
// the largest magnitude in that tensor.
struct FixedPointScale {
  const unsigned long long* largest;  // gradient, mask, output, target
  double constant;
  bool has_mask, squared;
  int64_t pixels;  // of an image, which contribute
  double* scale;   // units in 1, and its reciprocal
};

// From sums in float or, if there is a scale, in fixed point to the gradient, in memory order. Both must be
// aligned to four values.
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
