// Parameters and tasks of the kernels that warp volumes.
//
// A volume is walked as a tall image: row z * height + y is row y of slice z, and a sample reads two pixels
// in each of four rows. If the channels of a voxel lie side by side (channels_last_3d), these are read in
// place. Otherwise a block of channels at a time is converted to pixel-major rows in scratch memory
// (simd/nchw_nhwc.h): a ring of as many rows as must be resident at once while the output's rows are walked,
// which for a smooth field is a little more than a slice.
//
// The gradient with respect to the motion is computed in the order of the output. The gradient with respect
// to the volume is divided into bands of rows: a task accumulates the voxels of its own rows, from all output
// voxels that read them, in order. So no two tasks write the same voxel, and neither the number of bands nor
// the number of threads changes a bit of the result.
#pragma once

#include <cstdint>

#include "arguments/volume_warp_views.h"
#include "cpu/runtime/isa.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/channel_blocks.h"
#include "cpu/simd/simd.h"
#include "math/host_device.h"

namespace internet::cpu {

template <class S>
struct VolumeRowRanges {
  SampledVolume<S> samples;
  RowRange* row_ranges;  // (batch, depth * height): the rows of the volume that an output row reads
};

// `block` channels are done at a time; all of them if the volume is read in place.
template <class T>
struct VolumeWarp {
  SampledVolume<opmath<T>> samples;
  int64_t channels, block, bands;  // bands of output rows
  bool in_place;                   // the volume's channels have stride 1, and block = channels
  const RowRange* row_ranges;
  Strided<const T, 5> volume;  // (batch, channels, size)
  Strided<T, 5> output;        // (batch, channels, depth, height, width)
};

template <class T>
struct VolumeMotionBackward {
  SampledVolume<opmath<T>> samples;
  int64_t channels, block, bands;  // bands of output rows; a task does the blocks one after the other
  bool in_place;                   // as above
  const RowRange* row_ranges;
  Strided<const T, 5> volume;
  Strided<const T, 5> grad_output;
  opmath<T>* grad_field;       // (batch, depth, height, width, 3), contiguous
  opmath<T>* grad_confidence;  // (batch, depth, height, width), or null
};

template <class T>
struct VolumeBackward {
  SampledVolume<opmath<T>> samples;
  int64_t channels, block, bands;  // bands of the volume's rows
  bool in_place;  // float and double: gradient and grad_output have channels of stride 1, block = channels
  const RowRange* row_ranges;
  Strided<const T, 5> grad_output;
  Strided<T, 5> grad_volume;
};

// Whether tiles and registers have four words instead of sixteen.
template <class T, template <class> class P>
INTERNET_HD bool in_fours(const P<T>& p) {
  return p.block <= smallest_block<T> || (p.in_place && p.channels < 16);
}

}  // namespace internet::cpu

// Tasks: batch * depth * height output rows.
INTERNET_DECLARE_KERNEL(volume_row_ranges, VolumeRowRanges)
// Tasks: batch * ceil(channels / block) * bands. Any strides.
INTERNET_DECLARE_KERNEL(volume_warp, VolumeWarp)
// Tasks: batch * bands. Any strides.
INTERNET_DECLARE_KERNEL(volume_motion_backward, VolumeMotionBackward)
// Tasks: batch * ceil(channels / block) * bands. Any strides.
INTERNET_DECLARE_KERNEL(volume_backward, VolumeBackward)
