// The forward pass on planes where they lie in memory, through windows.
#pragma once

#include "cpu/confidence_warp/kernels.h"
#include "cpu/sampling/pixel_rows.h"
#include "cpu/sampling/window.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

// A band of output rows.
template <bool blended, class T>
class WindowedBand {
 public:
  WindowedBand(const ConfidenceWarp<T>& p, BilinearRow<T>& samples)
      : p_(p),
        samples_(samples),
        pieces_((p.motion.width + columns - 1) / columns),
        windows_((p.motion.height / p.bands + 1) * 2 * pieces_),
        rest_(blended ? (p.motion.height / p.bands + 1) * p.motion.width : 0) {}

  // Finds the windows, for all channels. Returns false, as soon as it turns out, if so many pixels do not fit
  // in any that it would not be worthwhile.
  bool cover(int64_t image, Band band) {
    image_ = image;
    band_ = band;
    const PlaneRows plane = {p_.motion.height, p_.motion.width, p_.features.stride[2]};
    Window<T>* window = windows_.data();
    int64_t misfits = (band.end - band.begin) * 2 * pieces_ / 8;
    for (int64_t y = band.begin; y < band.end && misfits >= 0; ++y) {
      samples_.prepare(image, y);
      for (int64_t x = 0; blended && x < plane.width; ++x) {
        rest_[(y - band.begin) * plane.width + x] = 1 - samples_.confidence()[x];
      }
      for_each_piece<columns>(plane.width, [&](int64_t first, int64_t, int64_t) {
        for (int64_t x : {first, first + Window<T>::pixels}) {
          window->cover(samples_, x, plane);
          misfits -= !window++->fits();
        }
      });
    }
    return misfits >= 0;
  }

  // Channels begin..end-1 of the band that was covered last.
  void warp(int64_t begin, int64_t end) const {
    for (; begin + at_once <= end; begin += at_once) warp_planes<at_once>(begin);
    for (; begin < end; ++begin) warp_planes<1>(begin);
  }

 private:
  static constexpr int columns = Window<T>::lanes;  // two windows
  static constexpr int at_once = 4;                 // planes, which share the look at a window

  template <class U>
  U* row(const Strided<U, 4>& image, int64_t channel, int64_t y) const {
    return image.data + image_ * image.stride[0] + channel * image.stride[1] + y * image.stride[2];
  }

  // `count` planes from `channel` on. The planes after them are prefetched.
  template <int count>
  void warp_planes(int64_t channel) const {
    using V = typename Window<T>::V;
    const int64_t next = channel + 2 * count <= p_.channels ? channel + count : channel;
    const int64_t in_stride = p_.features.stride[1], out_stride = p_.output.stride[1];
    const T* planes = row(p_.features, channel, 0);
    const Window<T>* window = windows_.data();
    for (int64_t y = band_.begin; y < band_.end; ++y) {
      const T *soon = row(p_.features, next, y), *added = nullptr, *rest = nullptr;
      if constexpr (blended) {
        added = row(p_.blend, channel, y);
        rest = rest_.data() + (y - band_.begin) * p_.motion.width;
      }
      T* out = row(p_.output, channel, y);
      for_each_piece<columns>(
          p_.motion.width, [&](int64_t x, int64_t, int64_t) __attribute__((always_inline)) {
            V west[count], east[count];
            window++->sample(planes, in_stride, west);
            window++->sample(planes, in_stride, east);
#pragma GCC unroll 4
            for (int k = 0; k < count; ++k) {
              __builtin_prefetch(soon + k * in_stride + x, 0, 2);
              V pixels = joined(half_of<0>(west[k]), half_of<0>(east[k])) +
                         joined(half_of<1>(west[k]), half_of<1>(east[k]));
              if constexpr (blended) {
                pixels += load<columns>(added + k * p_.blend.stride[1] + x) * load<columns>(rest + x);
              }
              store<columns>(out + k * out_stride + x, pixels);
            }
          });
    }
  }

  const ConfidenceWarp<T>& p_;
  BilinearRow<T>& samples_;
  int64_t pieces_;  // of a row
  Scratch<Window<T>> windows_;
  Scratch<T> rest_;  // 1 - confidence, for the blend
  int64_t image_ = -1;
  Band band_{};
};

}  // namespace internet::cpu::INTERNET_ISA
