// Parameters of the kernels that warp volumes, and their launchers. The formulas are in
// csrc/math/confidence_warp.h.
//
// A volume is processed as a tall image: row z * height + y is row y of slice z.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/volume_warp_views.h"
#include "cuda/runtime/storage.h"
#include "cuda/scatter/gradient_sums.h"

namespace internet::cuda {

// The assignment of threads. `vectors`: neighbouring threads compute neighbouring channels, several at a
// time; the volumes' channels then have stride 1, their number is a multiple of volume_vector, and everything
// is aligned to that many. Otherwise neighbouring threads compute neighbouring voxels.
template <class T>
constexpr int volume_vector = 16 / sizeof(T);

template <class T>
struct VolumeWarp {
  SampledVolume<opmath<T>> samples;
  int64_t channels;
  Strided<const T, 5> volume;  // (batch, channels, size)
  Strided<T, 5> output;        // (batch, channels, depth, height, width)
};

template <class T>
struct VolumeMotionBackward {
  SampledVolume<opmath<T>> samples;
  int64_t channels;
  Strided<const T, 5> volume;
  Strided<const T, 5> grad_output;
  opmath<T>* grad_field;       // (batch, depth, height, width, 3), contiguous
  opmath<T>* grad_confidence;  // (batch, depth, height, width), or null
};

template <class T>
struct VolumeScatter {
  SampledVolume<opmath<T>> samples;
  int64_t channels;
  Strided<const T, 5> grad_output;
  GradientSums sums;  // (batch, channels, rows of all slices, columns)
};

template <class T>
cudaError_t volume_warp(const VolumeWarp<T>& params, bool vectors, cudaStream_t stream);
template <class T>
cudaError_t volume_motion_backward(const VolumeMotionBackward<T>& params, bool vectors, cudaStream_t stream);
// `vectors`: neighbouring threads process neighbouring channels, one each.
template <class T>
cudaError_t volume_scatter(const VolumeScatter<T>& params, bool vectors, cudaStream_t stream);

}  // namespace internet::cuda
