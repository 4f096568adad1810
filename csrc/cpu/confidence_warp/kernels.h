// Warping gated by confidence: parameters of the kernels, and their tasks.
//
// Two layouts, one traversal. With the channels of a pixel side by side (channels_last) the loop over
// channels is a loop over vectors, and everything is done in place. Otherwise a block of channels at a time
// is turned into pixel-major rows in scratch memory (simd/nchw_nhwc.h): a ring of as many source rows as must
// be resident at a time while the output rows are walked. A smooth field needs a few, a random one all of the
// image.
//
// The gradient of the features is divided by *bands* of source rows: a task adds up the pixels of its own
// rows of it, from all output pixels that read them, in their order. So no two tasks write the same pixel,
// and neither the number of bands nor that of threads changes a bit of the result.
//
// If the field jumps all over the image, the samples are sorted by the source row they read: walked in that
// order, only two rows must be resident, and each of them once.
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
};

// The samples of an image, by the first source row they read and then in the order of the output. No data: as
// they come.
template <class S>
struct SampleOrder {
  int32_t* starts = nullptr;   // (batch, height + 1): where those of each row are
  int32_t* pixels = nullptr;   // (batch, height * width): the output pixel of each
  int32_t* indices = nullptr;  // (batch, 5, height * width), and
  S* weights = nullptr;        // (batch, 4, height * width): the sample, see Samples
};

template <class T>
struct ConfidenceWarpBackward {
  SampledMotion<opmath<T>> motion;
  int64_t batch, channels, block, bands;  // channels at a time, and bands of source rows
  int64_t groups;                         // of blocks, each with dot products of its own
  bool in_place;                 // float and double: all images have channels of stride 1, block = channels
  Strided<const T, 4> features;  // (batch, channels, height, width)
  const RowRange* row_ranges;
  SampleOrder<opmath<T>> order;  // where sorted, bands > 1 need a grad_output with channels of stride 1
  Strided<const T, 4> grad_output;
  Strided<T, 4> grad_features;  // no data: not wanted
  opmath<T>* corner_dots;       // (groups, batch, height, width, 4), null: no motion gradient wanted
  bool streaming;               // as above, of the gradient of the features
};

// Kernels about the motion alone, for float and double.
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
  S* corner_dots;  // the corner dot products; warp_motion_gradient sums the groups' into the first and turns
                   // each row of 4 * width values into three rows of width: by x, by y, by confidence
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

// The gradients of what is blended in, and its part in that of the confidence.
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
