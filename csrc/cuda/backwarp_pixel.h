// What the loss needs to know of a pixel before it looks at any channel.
#pragma once

#include "bilinear_sample.h"
#include "maps.h"
#include "masked_backwarp_loss.h"

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

template <class S>
struct BackwarpPixel {
  S x, y;  // where it samples the output, in pixels
  S mask;
  BilinearSample<S> sample;  // 0 where it does not read the image
  bool counts;
};

template <class T, class S = opmath<T>>
INTERNET_HD S mask_at(const BackwarpInputs<T>& in, int64_t image, int64_t row, int64_t column) {
  if (in.mask.data == nullptr) return 1;
  const Map<S> map = confidence_map(in.mask, image);
  if (in.mask_steps == 0) return map.at(row, column);
  return upsampled(map, fine_axis<S>(row, in.mask_steps, in.height >> in.mask_steps),
                   fine_axis<S>(column, in.mask_steps, in.width >> in.mask_steps));
}

template <class T, class S = opmath<T>>
INTERNET_HD BackwarpPixel<S> backwarp_pixel(const BackwarpInputs<T>& in, int64_t image, int64_t row,
                                            int64_t column) {
  const bool border = in.padding == math::Padding::border, valid = in.padding == math::Padding::valid;
  const S width = S(in.width), height = S(in.height);
  const auto& stride = in.flow.stride;
  const S* flow = in.flow.data + image * stride[0] + row * stride[2] + column * stride[3];
  BackwarpPixel<S> pixel;
  pixel.x = S(column) + flow[0];
  pixel.y = S(row) + flow[stride[1]];
  pixel.mask = mask_at(in, image, row, column);
  const bool reads =
      border || (math::inside_frame(pixel.x, width, valid) & math::inside_frame(pixel.y, height, valid));
  pixel.sample =
      bilinear_sample(math::axis(pixel.x, width, border), math::axis(pixel.y, height, border), S(1), reads);
  pixel.counts = reads || !valid;
  return pixel;
}

}  // namespace internet::cuda
