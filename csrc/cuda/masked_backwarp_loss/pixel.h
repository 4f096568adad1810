// What is computed of a pixel before any of its channels is read.
#pragma once

#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/runtime/offsets.h"
#include "cuda/runtime/pointers.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/maps.h"

namespace internet::cuda {

// Calls f with the penalty as a compile-time constant.
template <class F>
INTERNET_HD void with_penalty(math::Penalty norm, F f) {
  switch (norm) {
    case math::Penalty::l1:
      return f(std::integral_constant<math::Penalty, math::Penalty::l1>());
    case math::Penalty::l2:
      return f(std::integral_constant<math::Penalty, math::Penalty::l2>());
    default:
      return f(std::integral_constant<math::Penalty, math::Penalty::charbonnier>());
  }
}

// math/bilinear.h has two forms of bilinear sampling. The CPU interpolates from a Position: it copies rows to
// a ring with a frame of zeros, so that every load is of an existing pixel, and a vector holds both columns.
// This uses the four weights: the image is read in place, so indices have to be clamped and pixels outside
// need weight zero, for which successive interpolation along y and x has no place. The scatter, which merges
// its contributions with those of the next lane, needs the weights in any case.
template <class S>
struct BackwarpPixel {
  math::Axis<S> x, y;  // where it samples the output
  S mask;
  bool reads, counts;  // whether it reads the output, without which its sample is 0, and has a loss

  INTERNET_MEMBER math::Corners<S> weights() const { return math::corner_weights(x, y); }

  // The offsets of the four pixels in an image with these strides.
  template <class Index>
  INTERNET_MEMBER math::Corners<Index> corners(Index row_stride, Index column_stride) const {
    const Index nw = Index(y.low) * row_stride + Index(x.low) * column_stride;
    const Index east = x.high > x.low ? column_stride : 0, south = y.high > y.low ? row_stride : 0;
    return {nw, nw + east, nw + south, nw + south + east};
  }
};

// Whether 32 bits can count the pixels of an image, and the elements of an image of each input.
template <class T>
bool fits_32_bits(const BackwarpInputs<T>& in) {
  const int64_t height = in.height, width = in.width, steps = in.mask_steps;
  return height * width < int64_t(1) << 30 && fits_32_bits(in.output, {in.channels, height, width}) &&
         fits_32_bits(in.target, {in.channels, height, width}) && fits_32_bits(in.flow, {2, height, width}) &&
         fits_32_bits(in.mask, {1, height >> steps, width >> steps});
}

// The upsampled mask along a column of fine pixels. What these read of a row of the coarse mask is the same
// for all of them, and successive ones mostly read the same three rows.
template <class S, class Index>
class MaskColumn {
 public:
  template <class T>
  __device__ __forceinline__ MaskColumn(const BackwarpInputs<T>& in, int64_t image, Index column)
      : mask_(confidence_map<Index>(in.mask, image)),
        column_(fine_axis<S>(column, in.mask_steps, Index(in.width) >> in.mask_steps)),
        has_mask_(in.mask.data != nullptr),
        steps_(in.mask_steps),
        height_(Index(in.height) >> in.mask_steps) {
    mask_.data = computed(mask_.data);
  }

  __device__ __forceinline__ S at(Index row) {
    if (!has_mask_) return 1;
    if (steps_ == 0) return mask_.at(row, column_.coarse.here);
    const auto axis = fine_axis<S>(row, steps_, height_);
    if (axis.coarse.here != here_) {
      here_ = axis.coarse.here;
      rows_[0] = across(axis.coarse.before);
      rows_[1] = across(axis.coarse.here);
      rows_[2] = across(axis.coarse.after);
    }
    return math::upsample(axis.taps, rows_[0], rows_[1], rows_[2]);
  }

 private:
  __device__ __forceinline__ S across(Index row) const {
    const auto& at = column_.coarse;
    return math::upsample(column_.taps, mask_.at(row, at.before), mask_.at(row, at.here),
                          mask_.at(row, at.after));
  }

  Map<S, Index> mask_;
  const FineAxis<S, Index> column_;
  const bool has_mask_;
  const int steps_;
  const Index height_;
  Index here_ = -1;  // the coarse row of the latest pixel
  S rows_[3];        // the rows before it, its own and that after it, in this column
};

// Some successive pixels of one column, which a thread computes one after the other: what it reads of them
// apart from the output's pixels. The flow of the next pixel is on its way while one is computed.
template <class T, class Index>
class BackwarpColumn {
  using S = opmath<T>;

 public:
  const T *output, *target;  // the output's first pixel, and the target's in this column's first row

  // The pixels are those in rows `first` .. `end` - 1.
  __device__ __forceinline__ BackwarpColumn(const BackwarpInputs<T>& in, int64_t image, Index column,
                                            Index first, Index end)
      : output(computed(in.output.data + image * in.output.stride[0])),
        target(computed(in.target.data + image * in.target.stride[0] + column * Index(in.target.stride[3]))),
        in_(in),
        end_(end),
        flow_(computed(in.flow.data + image * in.flow.stride[0] + column * Index(in.flow.stride[3]))),
        mask_(in, image, column),
        column_(S(column)) {
    load_flow(first);
  }

  // Must be called for each row in turn.
  __device__ __forceinline__ BackwarpPixel<S> at(Index row) {
    const S x = column_ + flow_x_, y = S(row) + flow_y_;
    if (row + 1 < end_) load_flow(row + 1);
    const bool border = in_.padding == math::Padding::border, valid = in_.padding == math::Padding::valid;
    const S width = S(Index(in_.width)), height = S(Index(in_.height));
    BackwarpPixel<S> pixel;
    pixel.x = math::axis(x, width, border);
    pixel.y = math::axis(y, height, border);
    pixel.mask = mask_.at(row);
    pixel.reads = border || (math::inside_frame(x, width, valid) & math::inside_frame(y, height, valid));
    pixel.counts = pixel.reads || !valid;
    return pixel;
  }

 private:
  __device__ __forceinline__ void load_flow(Index row) {
    const S* flow = flow_ + row * Index(in_.flow.stride[2]);
    flow_x_ = load(flow);
    flow_y_ = load(flow + Index(in_.flow.stride[1]));
  }

  const BackwarpInputs<T>& in_;
  const Index end_;
  const S* const flow_;
  MaskColumn<S, Index> mask_;
  const S column_;
  S flow_x_, flow_y_;  // of the next pixel
};

}  // namespace internet::cuda
