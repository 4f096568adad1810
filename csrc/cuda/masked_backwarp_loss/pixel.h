// What is computed of a pixel before any of its channels is read.
#pragma once

#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/runtime/offsets.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/bilinear_sample.h"
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
  S x, y;  // where it samples the output, in pixels
  S mask;
  BilinearSample<S> sample;  // 0 where it does not read the image
  bool counts;
};

// Whether 32 bits can count the pixels of an image, and the elements of an image of each input.
template <class T>
bool fits_32_bits(const BackwarpInputs<T>& in) {
  const int64_t height = in.height, width = in.width, steps = in.mask_steps;
  return height * width < int64_t(1) << 30 && fits_32_bits(in.output, {in.channels, height, width}) &&
         fits_32_bits(in.target, {in.channels, height, width}) && fits_32_bits(in.flow, {2, height, width}) &&
         fits_32_bits(in.mask, {1, height >> steps, width >> steps});
}

template <class Index, class T, class S = opmath<T>>
INTERNET_HD S mask_at(const BackwarpInputs<T>& in, int64_t image, Index row, Index column) {
  if (in.mask.data == nullptr) return 1;
  const auto map = confidence_map<Index>(in.mask, image);
  if (in.mask_steps == 0) return map.at(row, column);
  return upsampled(map, fine_axis<S>(row, in.mask_steps, Index(in.height) >> in.mask_steps),
                   fine_axis<S>(column, in.mask_steps, Index(in.width) >> in.mask_steps));
}

template <class Index, class T, class S = opmath<T>>
INTERNET_HD BackwarpPixel<S> backwarp_pixel(const BackwarpInputs<T>& in, int64_t image, Index row,
                                            Index column) {
  const bool border = in.padding == math::Padding::border, valid = in.padding == math::Padding::valid;
  const S width = S(in.width), height = S(in.height);
  const auto& stride = in.flow.stride;
  const S* flow = in.flow.data + image * stride[0];
  const Index place = row * Index(stride[2]) + column * Index(stride[3]);
  BackwarpPixel<S> pixel;
  pixel.x = S(column) + load(flow + place);
  pixel.y = S(row) + load(flow + place + Index(stride[1]));
  pixel.mask = mask_at(in, image, row, column);
  const bool reads =
      border || (math::inside_frame(pixel.x, width, valid) & math::inside_frame(pixel.y, height, valid));
  pixel.sample =
      bilinear_sample(math::axis(pixel.x, width, border), math::axis(pixel.y, height, border), S(1), reads);
  pixel.counts = reads || !valid;
  return pixel;
}

}  // namespace internet::cuda
