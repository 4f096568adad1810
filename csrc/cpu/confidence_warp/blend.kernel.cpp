// The backward pass of `blend`, one row of the output at a time: pixel by pixel if all images have the
// channels of a pixel side by side, plane by plane if they have the pixels of a channel side by side, and
// otherwise on copies of planes.
#include <algorithm>

#include "cpu/confidence_warp/blend_pixels.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/map_rows.h"
#include "cpu/simd/few_channels.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// Four channels of as many columns as fit in the first-level cache.
template <class T>
class BlendPlanes {
  using S = opmath<T>;

 public:
  explicit BlendPlanes(const WarpBlendBackward<T>& p)
      : p_(p),
        in_place_(p.grad_output.stride[3] == 1 && (p.blend_dots == nullptr || p.blend.stride[3] == 1) &&
                  (p.grad_blend.data == nullptr || p.grad_blend.stride[3] == 1)),
        blend_(in_place_ ? 0 : 4 * columns),
        gradient_(in_place_ ? 0 : 4 * columns) {}

  void run(int64_t image, int64_t y, const S* confidence, S* dots) {
    for (int64_t x = 0; x < p_.motion.width; x += columns) {
      const int64_t count = std::min(columns, p_.motion.width - x);
      if (dots != nullptr) std::fill_n(dots + x, count, S(0));
      for (int64_t channel = 0; channel < p_.channels; channel += 4) {
        const int64_t channels = std::min<int64_t>(4, p_.channels - channel);
        const auto gradient = row_of(p_, p_.grad_output, image, y, channel, channels).part(x, count);
        const auto blend = row_of(p_, p_.blend, image, y, channel, channels).part(x, count);
        const auto target = row_of(p_, p_.grad_blend, image, y, channel, channels).part(x, count);
        S* sums = dots == nullptr ? nullptr : dots + x;
        if (!in_place_) {
          by_copies(gradient, blend, confidence + x, target, sums);
        } else if (channels == 4) {
          in_place<4>(gradient, blend, confidence + x, target, sums);
        } else {
          for (int64_t k = 0; k < channels; ++k) {
            in_place<1>(channel_of(gradient, k), channel_of(blend, k), confidence + x, channel_of(target, k),
                        sums);
          }
        }
      }
    }
  }

 private:
  static constexpr int64_t columns = 512;

  template <class U>
  static ImageRow<U> channel_of(ImageRow<U> row, int64_t k) {
    if (row.data != nullptr) row.data += k * row.channel_stride;
    row.channels = 1;
    return row;
  }

  // `count` channels. The next row of each plane is prefetched: there are more than the hardware follows.
  template <int count>
  void in_place(const ImageRow<const T>& gradient, const ImageRow<const T>& blend, const S* confidence,
                const ImageRow<T>& target, S* dots) const {
    constexpr int N = native_lanes<T>;
    const int64_t next_gradient = p_.grad_output.stride[2], next_blend = p_.blend.stride[2];
    int64_t x = 0;
    for (; x + N <= gradient.width; x += N) {
      const Vec<S, N> rest = S(1) - load<N>(confidence + x);
      Vec<S, N> dot{};
#pragma GCC unroll 4
      for (int k = 0; k < count; ++k) {
        const T* from = gradient.data + k * gradient.channel_stride + x;
        const Vec<S, N> g = load<N>(from);
        __builtin_prefetch(from + next_gradient, 0, 2);
        if (dots != nullptr) {
          const T* blended = blend.data + k * blend.channel_stride + x;
          dot += g * load<N>(blended);
          __builtin_prefetch(blended + next_blend, 0, 2);
        }
        if (target.data == nullptr) continue;
        T* to = target.data + k * target.channel_stride + x;
        const Vec<S, N> scaled = g * rest;
        if constexpr (std::is_same_v<T, S>) {
          store_line(to, scaled, p_.streaming);
        } else {
          store<N>(to, scaled);
        }
      }
      if (dots != nullptr) store<N>(dots + x, Vec<S, N>(load<N>(dots + x) + dot));
    }
    for (; x < gradient.width; ++x) {
      for (int k = 0; k < count; ++k) {
        const S g = widen(gradient.data[k * gradient.channel_stride + x]);
        if (dots != nullptr) dots[x] += g * widen(blend.data[k * blend.channel_stride + x]);
        if (target.data == nullptr) continue;
        target.data[k * target.channel_stride + x] = narrow<T>(g * (1 - confidence[x]));
      }
    }
  }

  void by_copies(const ImageRow<const T>& gradient, const ImageRow<const T>& blend, const S* confidence,
                 const ImageRow<T>& target, S* dots) {
    const int64_t count = gradient.width;
    read_planes(gradient, 0, count, gradient_.data(), columns);
    if (dots != nullptr) {
      read_planes(blend, 0, count, blend_.data(), columns);
      for (int64_t k = 0; k < blend.channels; ++k) add_products(k, count, dots);
    }
    if (target.data == nullptr) return;
    for (int64_t k = 0; k < gradient.channels; ++k) scale(k, count, confidence);
    write_planes(target, 0, count, gradient_.data(), columns);
  }
  void add_products(int64_t k, int64_t count, S* __restrict dots) const {
    const S *gradient = gradient_.data() + k * columns, *blend = blend_.data() + k * columns;
    for (int64_t x = 0; x < count; ++x) dots[x] += gradient[x] * blend[x];
  }
  void scale(int64_t k, int64_t count, const S* __restrict confidence) {
    S* gradient = gradient_.data() + k * columns;
    for (int64_t x = 0; x < count; ++x) gradient[x] *= 1 - confidence[x];
  }

  const WarpBlendBackward<T>& p_;
  const bool in_place_;
  Scratch<S> blend_, gradient_;
};

}  // namespace

template <class T>
void warp_blend_backward(const WarpBlendBackward<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  FlushDenormals flush;
  const int64_t height = p.motion.height, width = p.motion.width;
  MapRows<S> confidence_rows(p.motion.confidence_resize);
  BlendPlanes<T> planes(p);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / height, y = task % height;
    const S* confidence = confidence_rows.at(confidence_map(p.motion, image), y);
    if (p.pixels) {
      blend_row_of_pixels<native_lanes<T>>(p, image, y, confidence);
    } else {
      planes.run(image, y, confidence, p.blend_dots == nullptr ? nullptr : p.blend_dots + task * width);
    }
  }
  finish_streaming();
}

INTERNET_INSTANTIATE_KERNEL(warp_blend_backward, WarpBlendBackward)

}  // namespace internet::cpu::INTERNET_ISA
