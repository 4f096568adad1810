// Warping gated by confidence: what the kernels of confidence_warp.kernel.cpp take, and their tasks.
//
// Two layouts, two traversals. With the channels of a pixel side by side (channels_last) the loop over
// channels is a loop over vectors, and everything is done in place. Otherwise K channels at a time are
// turned into pixel-major rows in scratch memory (plane_tiles.h), one *band* of source rows after another;
// every output pixel belongs to the band that holds the upper of the two source rows it reads.
//
// Bands are also what the gradient of the features is divided by: a task adds up the pixels of its own rows
// of it, from all output pixels that read them, in their order. So no two tasks write the same pixel, and
// neither the number of bands nor that of threads changes a bit of the result.
#pragma once

#include <cstdint>

#include "../strided.h"
#include "isa.h"
#include "simd.h"

namespace internet::cpu {

// Where the samples lie. The output has the size of the features, height x width = ratio times the coarse
// maps'. S is float or double.
template <class S>
struct SampledMotion {
  Strided<const S, 4> flow;        // (batch, height / ratio, width / ratio, 2), normalised coordinates
  Strided<const S, 4> confidence;  // (batch, 1, height / ratio, width / ratio); no data: ones
  int64_t height, width, ratio;
  bool border, align_corners;
};

template <class T>
struct ConfidenceWarp {
  SampledMotion<opmath<T>> motion;
  int64_t channels, bands;
  Strided<const T, 4> features;  // (batch, channels, height, width)
  const int32_t* row_ranges;     // (batch, height, 2): first and last source row an output row reads
  Strided<T, 4> output;
};

template <class T>
struct ConfidenceWarpBackward {
  SampledMotion<opmath<T>> motion;
  int64_t channels, bands;
  Strided<const T, 4> features;  // (batch, channels, height, width)
  const int32_t* row_ranges;
  Strided<const T, 4> grad_output;
  Strided<T, 4> grad_features;  // no data: not wanted
  opmath<T>* dots;              // (batch, height, width, 4), null: no motion gradient wanted
};

// Kernels about the motion alone, for float and double.
template <class S>
struct RowRanges {
  SampledMotion<S> motion;
  int32_t* row_ranges;
};
template <class S>
struct MotionBackward {
  SampledMotion<S> motion;
  S* dots;             // corner dot products; warp_motion_gradient turns each row of 4 * width values into
                       // three rows of width: by x, by y, by confidence
  S* grad_flow;        // (batch, height / ratio, width / ratio, 2), contiguous
  S* grad_confidence;  // (batch, height / ratio, width / ratio) or null
  bool accumulate;     // add to what is there
};

// Channels that the planar kernels handle at once.
inline int64_t warp_block_channels(int64_t channels) { return channels > 4 ? 16 : 4; }

// How many bands the source rows of an image are divided into, if `images` can be worked on at a time:
// enough tasks for many threads, and few enough rows for the scratch memory, 2 x 16 channels of a band.
inline int64_t warp_bands(int64_t images, int64_t height, int64_t width) {
  constexpr int64_t tasks = 16, least_rows = 16, most_pixels = 32768;
  int64_t wanted = (tasks + images - 1) / images;
  int64_t allowed = height / least_rows;
  int64_t bands = wanted < allowed ? wanted : allowed;
  int64_t needed = (height * width + most_pixels - 1) / most_pixels;
  bands = bands > needed ? bands : needed;
  bands = bands < height ? bands : height;
  return bands > 1 ? bands : 1;
}

}  // namespace internet::cpu

// Tasks: batch * height output rows.
INTERNET_DECLARE_KERNEL(warp_row_ranges, RowRanges)
// Tasks: batch * height output rows. Channels of features and output have stride 1.
INTERNET_DECLARE_KERNEL(warp_pixels, ConfidenceWarp)
// Tasks: batch * ceil(channels / warp_block_channels) * bands. Any strides.
INTERNET_DECLARE_KERNEL(warp_planes, ConfidenceWarp)
// Tasks: batch * bands. Channels of the three images have stride 1; float and double only, because
// the features' gradient is added up in place.
INTERNET_DECLARE_KERNEL(warp_pixels_backward, ConfidenceWarpBackward)
// Tasks: batch * bands. Any strides.
INTERNET_DECLARE_KERNEL(warp_planes_backward, ConfidenceWarpBackward)
// Tasks: batch * height output rows.
INTERNET_DECLARE_KERNEL(warp_motion_gradient, MotionBackward)
// Tasks: batch * coarse rows. After all of warp_motion_gradient.
INTERNET_DECLARE_KERNEL(warp_motion_fold, MotionBackward)
