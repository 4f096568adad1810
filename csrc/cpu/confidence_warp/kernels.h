// Parameters and tasks of the kernels that warp features and gate them by confidence.
//
// Two layouts, one traversal. With the channels of a pixel side by side (channels_last) the loop over
// channels is a loop over vectors, and everything is done in place. Otherwise a block of channels at a time
// is converted to pixel-major rows in scratch memory (simd/nchw_nhwc.h): a ring of as many source rows as
// must be resident at once while the output rows are walked. A smooth field needs few of them, a random one
// needs the whole image. Small planes are sampled in place where that is faster (sampling/window.h).
//
// The gradient of the features is divided into *bands* of source rows: a task accumulates the pixels of its
// own rows, from all output pixels that read them, in order. So no two tasks write the same pixel, and
// neither the number of bands nor the number of threads changes a bit of the result.
//
// If the field jumps all over the image, the samples are sorted by the source row they read. Walked in that
// order, they need only two resident rows at a time, and each row once.
#pragma once

#include <cstdint>

#include "arguments/confidence_warp_views.h"
#include "cpu/runtime/isa.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/channel_blocks.h"
#include "cpu/simd/simd.h"

namespace internet::cpu {

template <class T>
struct ConfidenceWarp {
  SampledMotion<opmath<T>> motion;
  int64_t channels, block, bands;  // warp_planes: channels at a time, and bands of output rows
  Strided<const T, 4> features;    // (batch, channels, height, width)
  const RowRange* row_ranges;      // (batch, height): the source rows an output row reads
  Strided<const T, 4> blend;       // likewise; no data: none
  Strided<T, 4> output;
  bool streaming;  // the output is too large for a cache, and its pixels or rows are whole cache lines
  bool windows;    // warp_planes: sample planes in place, if the instruction set can
};

// The samples of an image, sorted by the first source row they read and then in output order. Without data:
// in output order.
template <class S>
struct SampleOrder {
  int32_t* starts = nullptr;   // (batch, height + 1): where those of each row are
  int32_t* pixels = nullptr;   // (batch, height * width): the output pixel of each sample
  int32_t* indices = nullptr;  // (batch, 5, height * width), and
  S* weights = nullptr;        // (batch, 4, height * width): the sample itself, see Samples
};

// The gradient of the blend, and its part of the confidence's.
template <class T>
struct WarpBlendBackward {
  SampledMotion<opmath<T>> motion;
  int64_t channels;
  Strided<const T, 4> blend, grad_output;
  Strided<T, 4> grad_blend;  // no data: not wanted
  bool pixels;               // the channels of all three have stride 1
  bool streaming;            // as above, of grad_blend
  opmath<T>*
      blend_dots;  // (batch, height, width), the dot products of blend and grad_output; null: not wanted
};

template <class T>
struct ConfidenceWarpBackward {
  SampledMotion<opmath<T>> motion;
  int64_t batch, channels, block, bands;  // channels at a time, and bands of source rows
  int64_t groups;                         // of blocks, each with dot products of its own
  bool in_place;                 // float and double: all images have channels of stride 1, block = channels
  Strided<const T, 4> features;  // (batch, channels, height, width)
  const RowRange* row_ranges;
  SampleOrder<opmath<T>> order;  // if sorted, bands > 1 need a grad_output with channels of stride 1
  Strided<const T, 4> grad_output;
  Strided<T, 4> grad_features;  // no data: not wanted
  opmath<T>* corner_dots;       // (groups, batch, height, width, 4), null: no motion gradient wanted
  bool streaming;               // as above, of the gradient of the features
  WarpBlendBackward<T> blend;   // on the way, if in place and not sorted; without grad_output: none
};

// Kernels that concern the motion alone, for float and double.
template <class S>
struct RowRanges {
  SampledMotion<S> motion;
  RowRange* row_ranges;
};
template <class S>
struct SortSamples {
  SampledMotion<S> motion;
  SampleOrder<S> order;
};
template <class S>
struct MotionBackward {
  SampledMotion<S> motion;
  int64_t batch, groups;
  S* corner_dots;  // the corner dot products. warp_motion_gradient sums the groups' into the first, and turns
                   // each row of 4 * width values into three of width: the gradients with respect to x, y and
                   // the confidence
  const S* blend_dots;  // (batch, height, width), or null
};
// The gradient of a coarse map, (batch, resize.height, resize.width, channels), from its fine rows.
template <class S>
struct MapFold {
  MapResize resize;
  int64_t channels;
  const S* fine;  // (batch, fine height, fine_stride), channel after channel in a row
  int64_t fine_stride;
  S* coarse;
  bool accumulate;  // add to what is there
};

}  // namespace internet::cpu

// Tasks: batch * height output rows.
INTERNET_DECLARE_KERNEL(warp_row_ranges, RowRanges)
// Tasks: batch.
INTERNET_DECLARE_KERNEL(warp_sort_samples, SortSamples)
// Tasks: batch * height output rows. Channels of features and output have stride 1, blend has any strides.
INTERNET_DECLARE_KERNEL(warp_pixels, ConfidenceWarp)
// Tasks: batch * ceil(channels / block) * bands. Any strides of features and blend; the output's are those of
// a contiguous image.
INTERNET_DECLARE_KERNEL(warp_planes, ConfidenceWarp)
// Tasks: batch * groups * bands. Any strides.
INTERNET_DECLARE_KERNEL(warp_backward, ConfidenceWarpBackward)
// Tasks: batch * height output rows.
INTERNET_DECLARE_KERNEL(warp_motion_gradient, MotionBackward)
// Tasks: batch * rows of the coarse map.
INTERNET_DECLARE_KERNEL(warp_map_fold, MapFold)
// Tasks: batch * height output rows. Any strides.
INTERNET_DECLARE_KERNEL(warp_blend_backward, WarpBlendBackward)
