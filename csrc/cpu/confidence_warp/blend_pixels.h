// The backward pass of `blend`, pixel by pixel.
#pragma once

#include "cpu/confidence_warp/kernels.h"
#include "cpu/simd/channel_lanes.h"
#include "cpu/simd/image_row.h"

namespace internet::cpu::INTERNET_ISA {

// Some channels of one row of an image that has the output's size.
template <class T, class U>
INTERNET_HD ImageRow<U> row_of(const WarpBlendBackward<T>& p, const Strided<U, 4>& image, int64_t batch,
                               int64_t y, int64_t channel, int64_t channels) {
  const auto& stride = image.stride;
  return {image.data + batch * stride[0] + channel * stride[1] + y * stride[2], stride[1], stride[3],
          p.motion.width, channels};
}

// `channels` of one pixel: their dot product, if wanted, and the gradient of the blend, if target is not
// null.
template <int N, bool with_dot, class T, class S = opmath<T>>
INTERNET_HD S blend_pixel(const T* gradient, const T* blend, int64_t channels, S rest, T* target,
                          bool streaming) {
  constexpr int step = channels_in<N, T>;
  Vec<S, N> dots{};
  S dot = 0;
  int64_t k = 0;
  for (; k + step <= channels; k += step) {
    auto g = load_channel_lanes<N>(gradient + k);
    if constexpr (with_dot) {
      const auto b = load_channel_lanes<N>(blend + k);
#pragma GCC unroll 2
      for (int i = 0; i < g.parts; ++i) dots += g.part[i] * b.part[i];
    }
    if (target == nullptr) continue;
#pragma GCC unroll 2
    for (int i = 0; i < g.parts; ++i) g.part[i] *= rest;
    store_channel_lanes<N, T>(target + k, g, streaming);
  }
  for (; k < channels; ++k) {
    if constexpr (with_dot) dot += widen(gradient[k]) * widen(blend[k]);
    if (target != nullptr) target[k] = narrow<T>(widen(gradient[k]) * rest);
  }
  return dot + sum_of_lanes<N>(dots);
}

// A row of the output, whose images have the channels of a pixel side by side.
template <int N, class T, class S = opmath<T>>
[[gnu::noinline]] void blend_row_of_pixels(const WarpBlendBackward<T>& p, int64_t image, int64_t y,
                                           const S* confidence) {
  const auto gradient = row_of(p, p.grad_output, image, y, 0, p.channels);
  const auto blend = row_of(p, p.blend, image, y, 0, p.channels);
  const auto target = row_of(p, p.grad_blend, image, y, 0, p.channels);
  S* dots = p.blend_dots == nullptr ? nullptr : p.blend_dots + (image * p.motion.height + y) * p.motion.width;
  for (int64_t x = 0; x < p.motion.width; ++x) {
    const T *g = gradient.data + x * gradient.column_stride, *b = blend.data + x * blend.column_stride;
    T* t = target.data == nullptr ? nullptr : target.data + x * target.column_stride;
    const S rest = 1 - confidence[x];
    if (dots != nullptr) {
      dots[x] = blend_pixel<N, true>(g, b, p.channels, rest, t, p.streaming);
    } else {
      blend_pixel<N, false>(g, b, p.channels, rest, t, p.streaming);
    }
  }
}

}  // namespace internet::cpu::INTERNET_ISA
