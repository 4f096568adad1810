// Adding up the gradient of an image that many threads sample: where, with what, and what comes of it.
//
// Each output pixel gives to four pixels of the image, and nobody knows beforehand which. The sums are kept
// in one of two forms:
//
// * In S, by floating-point atomics. The order in which they arrive, and so the rounding, is not the same
//   every time. Data of 16 bits is summed in float beside the gradient and rounded once at the end: sums in
//   bfloat16 would round at each of the four or more additions, and stop growing at 256 equal summands.
// * In 64-bit fixed point, where the order does not matter: bitwise repeatable. The unit is the smallest
//   power of two such that no sum can overflow, found on the device: with M a bound on what an output pixel
//   can give and n such pixels, 2^62 units are at least n M. So a summand is rounded by less than 2^-61 n M;
//   for n = 512 x 512, by 2^-43 M, where float's sums are rounded by 2^-24 of what they are.
//   If M is not finite, the whole gradient is NaN, where a scaler of the loss will find it.
//
// Some images, or some channels of an image, are done at a time: so few that their sums stay in the L2 cache
// from their zeros to the last atomic, and to the gradient that is rounded from them. DRAM then sees the
// gradient once, and sums that are not the gradient itself need little memory.
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

// What is done at a time: some images, for some of their channels. Its sums begin with the first of both.
struct ScatterPass {
  int64_t first_image, images, first_channel, channels;
  GradientSums sums;
};

// The largest magnitude in a tensor of shape `size` is brought into `largest`, the bits of a double that
// start as zero; a NaN is larger than all numbers.
template <class T>
struct Magnitude {
  Strided<const T, 4> values;
  int64_t size[4];
  unsigned long long* largest;
};

// What bounds the gifts of an output pixel: constant * gradient * mask, and for a penalty that grows as the
// square of the residual again * mask * (output + target). Each is the largest magnitude of a tensor.
struct FixedPointScale {
  const unsigned long long* largest;  // gradient, mask, output, target
  double constant;
  bool has_mask, squared;
  int64_t pixels;  // that give, in an image
  double* scale;   // units in 1; and its reciprocal, NaN if the bound is not finite
};

// From sums in float or, if there is a scale, in fixed point to the gradient: `runs` of neighbouring values,
// one so many elements after the other.
template <class T>
struct FinishSums {
  const void* sums;
  const double* scale;
  T* gradient;
  int64_t runs, length, sums_step, gradient_step;
};

template <class T>
cudaError_t magnitude(const Magnitude<T>& params, cudaStream_t stream);
cudaError_t fixed_point_scale(const FixedPointScale& params, cudaStream_t stream);
template <class T>
cudaError_t finish_sums(const FinishSums<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
