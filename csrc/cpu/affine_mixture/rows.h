// What the forward and the backward kernel share: vectors of neighbouring pixels, in and out of memory, and
// the composition along a row.
#pragma once

#include <algorithm>

#include "cpu/affine_mixture/kernels.h"
#include "cpu/runtime/scratch.h"
#include "cpu/simd/channel_vectors.h"
#include "math/affine_mixture.h"
#include "math/bilinear.h"

namespace internet::cpu::INTERNET_ISA {

template <class T>
constexpr int lanes = native_lanes<T>;
template <class T>
using Pixels = Vec<opmath<T>, lanes<T>>;

// Vectors that are composed at once: they share the motions, and one computes while the other waits.
constexpr int vectors_at_once = 2;

// How many of the pixels of a vector that begins at `column` are there.
template <class T>
INTERNET_HD int pixels_from(int64_t column, int64_t width) {
  return int(std::clamp<int64_t>(width - column, 0, lanes<T>));
}

// The logits of `count` pixels from column x on: straight from memory where they are neighbours, lane by lane
// otherwise (channels_last, a row's end). Lanes past `count` are 0.
template <class T>
INTERNET_HD Pixels<T> load_pixels(const T* p, int64_t stride, int count) {
  if (stride == 1 && count == lanes<T>) return load<lanes<T>>(p);
  Pixels<T> v{};
  for (int i = 0; i < count; ++i) v[i] = widen(p[i * stride]);
  return v;
}

template <class T>
INTERNET_HD void store_pixels(T* p, int64_t stride, int count, Pixels<T> v) {
  if (stride == 1 && count == lanes<T>) return store<lanes<T>>(p, v);
  for (int i = 0; i < count; ++i) p[i * stride] = narrow<T>(v[i]);
}

// Pairs (x, y) side by side in memory.
template <class S, class V>
INTERNET_HD void store_pairs(S* p, int count, V x, V y) {
  constexpr int n = math::Value<V>::lanes;
  V low, high;
  interleave(x, y, low, high);
  if (count == n) {
    store<n>(p, low);
    store<n>(p + n, high);
  } else {
    for (int i = 0; i < count; ++i) p[2 * i] = x[i], p[2 * i + 1] = y[i];
  }
}

template <class S, class V>
INTERNET_HD void load_pairs(const S* p, int64_t pixel_stride, int64_t pair_stride, int count, V& x, V& y) {
  constexpr int n = math::Value<V>::lanes;
  if (pixel_stride == 2 && pair_stride == 1 && count == n) {
    deinterleave<V>(load<n>(p), load<n>(p + n), x, y);
  } else {
    x = y = V{};
    for (int i = 0; i < count; ++i) x[i] = p[i * pixel_stride], y[i] = p[i * pixel_stride + pair_stride];
  }
}

// The logits, or their gradients, of vectors of neighbouring pixels of a row: planes(i)[k] holds anchor
// k of vector i.
template <class T>
class Block {
 public:
  using V = Pixels<T>;

  INTERNET_MEMBER Block(int64_t channels, int64_t vectors)
      : channels_(channels),
        planes_per_vector_((channels + 3) / 4 * 4),
        planes_(planes_per_vector_ * vectors),
        pixels_(packed()) {}

  INTERNET_MEMBER V* planes(int64_t vector) const { return planes_.data() + vector * planes_per_vector_; }

  // `last`: nothing may be read past these pixels.
  INTERNET_MEMBER void load_from(const T* p, int64_t vector, int64_t channel_stride, int64_t pixel_stride,
                                 int count, bool last) const {
    if (is_dense(channel_stride, pixel_stride, count)) {
      if (last) p = static_cast<const T*>(std::memcpy(pixels_.data(), p, sizeof(T) * channels_ * count));
      return load_channels<T>(p, channels_, planes(vector));
    }
    for (int64_t k = 0; k < channels_; ++k) {
      planes(vector)[k] = load_pixels<T>(p + k * channel_stride, pixel_stride, count);
    }
  }

  // `last`: nothing may be written past these pixels; otherwise it may, as far as those stored next go.
  INTERNET_MEMBER void store_to(T* p, int64_t vector, int64_t channel_stride, int64_t pixel_stride, int count,
                                bool last) const {
    if (is_dense(channel_stride, pixel_stride, count)) {
      store_channels<T>(planes(vector), channels_, last ? pixels_.data() : p);
      if (last) std::memcpy(p, pixels_.data(), sizeof(T) * channels_ * count);
      return;
    }
    for (int64_t k = 0; k < channels_; ++k) {
      store_pixels<T>(p + k * channel_stride, pixel_stride, count, planes(vector)[k]);
    }
  }

 private:
  INTERNET_MEMBER int64_t packed() const { return channels_ * lanes<T> + lanes<T>; }
  INTERNET_MEMBER bool is_dense(int64_t channel_stride, int64_t pixel_stride, int count) const {
    return channel_stride == 1 && pixel_stride == channels_ && count == lanes<T>;
  }

  int64_t channels_, planes_per_vector_;
  Scratch<V> planes_;
  Scratch<T> pixels_;
};

// The rows of an image, one after the other.
template <class T>
class Row {
 public:
  using S = opmath<T>;
  using V = Pixels<T>;
  static constexpr int n = vectors_at_once;

  INTERNET_MEMBER Row(int64_t anchors, int64_t height, int64_t width, bool align_corners)
      : anchors_(anchors),
        width_(width),
        x_start_(math::normalized_start(S(width), align_corners)),
        x_step_(math::normalized_step(S(width), align_corners)),
        y_start_(math::normalized_start(S(height), align_corners)),
        y_step_(math::normalized_step(S(height), align_corners)),
        motion_(anchors),
        logits_(anchors + 1, n) {}

  INTERNET_MEMBER void begin(const math::Affine<S>* affine, int64_t row) {
    y = y_start_ + y_step_ * S(row);
    for (int64_t k = 0; k < anchors_; ++k) {
      auto m = affine[k].row(y);
      motion_[k] = {m, m.x_slope * x_step(), m.y_slope * x_step()};
    }
  }

  // From one vector of pixels to the next.
  INTERNET_MEMBER S x_step() const { return x_step_ * S(lanes<T>); }

  INTERNET_MEMBER V x_of(int64_t column) const { return (iota<V>() + S(column)) * x_step_ + x_start_; }

  INTERNET_MEMBER auto motion() const {
    return [m = motion_.data()](int k) { return m[k - 1].row; };
  }
  // That of motion 0 too.
  INTERNET_MEMBER math::SteppedMotion<S> stepped_motion(int k) const {
    return k == 0 ? math::SteppedMotion<S>{{1, 0, 0, y}, x_step(), 0} : motion_[k - 1];
  }

  // The n vectors of pixels from `column` on, of which the row may hold fewer; `logits` is the row's first.
  template <class Keep>
  INTERNET_MEMBER void compose(const T* logits, int64_t anchor_stride, int64_t pixel_stride, int64_t column,
                               Keep keep, math::Composition<V> (&f)[n]) const {
    V x[n];
    for (int i = 0; i < n; ++i) x[i] = x_of(column + i * lanes<T>);
    auto motion = [m = motion_.data()](int k) -> const auto& { return m[k - 1]; };
    const T* p = logits + column * pixel_stride;
    if (pixel_stride == 1 && column + n * lanes<T> <= width_) {
      auto logit = [=, width = width_](int k, int i) {
        const T* at = p + k * anchor_stride + i * lanes<T>;
        // Prefetches the next row: the hardware does not follow so many streams. Into the L2 cache: in L1 the
        // rows of planes of 2^n pixels would push each other out.
        __builtin_prefetch(at + width, 0, 2);
        return load<lanes<T>>(at);
      };
      return math::compose_logits<n>(int(anchors_), logit, motion, x, y, keep, f);
    }
    for (int i = 0; i < n; ++i) {
      const int64_t first = column + i * lanes<T>;
      const int count = pixels_from<T>(first, width_);
      logits_.load_from(p + i * lanes<T> * pixel_stride, i, anchor_stride, pixel_stride, count,
                        first + count >= width_);
    }
    auto logit = [&](int k, int i) { return logits_.planes(i)[k]; };
    math::compose_logits<n>(int(anchors_), logit, motion, x, y, keep, f);
  }

  S y = 0;

 private:
  int64_t anchors_, width_;
  S x_start_, x_step_, y_start_, y_step_;
  Scratch<math::SteppedMotion<S>> motion_;
  Block<T> logits_;
};

}  // namespace internet::cpu::INTERNET_ISA
