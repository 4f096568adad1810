// Shared by the forward and the backward kernel: loading and storing vectors of neighbouring pixels, and the
// composition along a row.
#pragma once

#include <algorithm>

#include "cpu/affine_mixture/kernels.h"
#include "cpu/runtime/scratch.h"
#include "cpu/simd/channel_vectors.h"
#include "cpu/simd/row_end.h"
#include "math/affine_mixture.h"
#include "math/bilinear.h"

namespace internet::cpu::INTERNET_ISA {

template <class T>
constexpr int lanes = native_lanes<T>;
template <class T>
using Pixels = Vec<opmath<T>, lanes<T>>;

// How many vectors are composed together: they share the motions, and their independent operations overlap.
constexpr int vectors_at_once = 2;

// How many pixels of a vector that begins at `column` are inside the row.
template <class T>
INTERNET_HD int pixels_from(int64_t column, int64_t width) {
  return int(std::clamp<int64_t>(width - column, 0, lanes<T>));
}

// The logits of `count` pixels that are `stride` apart, lane by lane. Lanes past `count` are 0.
template <class T>
INTERNET_HD Pixels<T> load_pixels(const T* p, int64_t stride, int count) {
  Pixels<T> v{};
  for (int i = 0; i < count; ++i) v[i] = widen(p[i * stride]);
  return v;
}

template <class T>
INTERNET_HD void store_pixels(T* p, int64_t stride, int count, Pixels<T> v) {
  if (stride == 1) return store_first<lanes<T>>(p, count, v);
  for (int i = 0; i < count; ++i) p[i * stride] = narrow<T>(v[i]);
}

// Points, each with its coordinates side by side in memory.
template <class S, class V, int N>
INTERNET_HD void store_points(S* p, int count, const math::Point<V, N>& points) {
  constexpr int n = math::Value<V>::lanes;
  V packed[N];
  interleave(points.axis, packed);
  for (int i = 0; i < N; ++i) {
    if (N * count > i * n) store_first<n>(p + i * n, std::min(N * count - i * n, n), packed[i]);
  }
}

template <int N, class V, class S>
INTERNET_HD math::Point<V, N> load_points(const S* p, int64_t pixel_stride, int64_t axis_stride, int count) {
  constexpr int n = math::Value<V>::lanes;
  math::Point<V, N> points{};
  if (pixel_stride == N && axis_stride == 1) {
    V packed[N];
    for (int i = 0; i < N; ++i)
      packed[i] = load_first<n>(p + i * n, std::clamp(N * count - i * n, 0, n), S(0));
    deinterleave(packed, points.axis);
  } else {
    for (int i = 0; i < count; ++i) {
      for (int axis = 0; axis < N; ++axis) points.axis[axis][i] = p[i * pixel_stride + axis * axis_stride];
    }
  }
  return points;
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

  // `last`: nothing may be written past these pixels. Otherwise stores may reach into the pixels stored next.
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

// The rows of an image or volume, one after the other.
template <class T, int N>
class Row {
 public:
  using S = opmath<T>;
  using V = Pixels<T>;
  static constexpr int n = vectors_at_once;

  INTERNET_MEMBER explicit Row(const AffineMixture<T, N>& mixture)
      : mixture_(mixture), motion_(mixture.anchors), logits_(mixture.anchors + 1, n) {
    for (int axis = 0; axis < N; ++axis) {
      const S size = S(mixture.size[N - 1 - axis]);
      start_[axis] = math::normalized_start(size, mixture.align_corners);
      step_[axis] = math::normalized_step(size, mixture.align_corners);
    }
    last_x_ = start_[0] + step_[0] * S(mixture.width() - 1);
  }

  INTERNET_MEMBER void begin(int64_t image, int64_t row) {
    const auto& stride = mixture_.logits.stride;
    row_logits_ = mixture_.logits.data + image * stride[0] + mixture_.row_offset(row, stride + 2);
    for (int axis = 1; axis < N; ++axis) {
      const int64_t size = mixture_.size[N - 1 - axis];
      z.axis[axis] = start_[axis] + step_[axis] * S(row % size);
      row /= size;
    }
    const math::Affine<S, N>* affine = mixture_.affine + image * mixture_.anchors;
    for (int64_t k = 0; k < mixture_.anchors; ++k) motion_[k] = math::stepped(affine[k].row(z), x_step());
    if (has_background()) background_ = mixture_.background[image].row(z);
  }

  // From one vector of pixels to the next.
  INTERNET_MEMBER S x_step() const { return step_[0] * S(lanes<T>); }

  INTERNET_MEMBER V x_of(int64_t column) const { return (iota<V>() + S(column)) * step_[0] + start_[0]; }

  INTERNET_MEMBER bool has_background() const { return mixture_.background != nullptr; }

  // The background's motion in homogeneous coordinates. Lanes past the row's end use its last pixel, because
  // the denominator may vanish beyond it.
  INTERNET_MEMBER math::Point<V, N + 1> homogeneous(V x) const {
    return background_.at(math::at_most(x, last_x_));
  }

  // T_0.
  INTERNET_MEMBER math::Point<V, N> still(V x) const {
    if (has_background()) return math::from_homogeneous(homogeneous(x));
    math::Point<V, N> to;
    to.axis[0] = x;
    for (int axis = 1; axis < N; ++axis) to.axis[axis] = math::splat<V>(z.axis[axis]);
    return to;
  }

  INTERNET_MEMBER auto motion() const {
    return [m = motion_.data()](int k) -> const auto& { return m[k - 1].row; };
  }
  INTERNET_MEMBER const math::SteppedMotion<S, N>& stepped_motion(int k) const { return motion_[k - 1]; }

  // The n vectors of pixels from `column` on, some of which may lie past the row's end
  // (math::compose_logits).
  template <bool thresholded, class Keep>
  INTERNET_MEMBER void compose(int64_t column, Keep keep, math::Composition<V, N> (&f)[n]) {
    const int64_t anchor_stride = mixture_.logits.stride[1], pixel_stride = mixture_.logits.stride[N + 1];
    const int64_t width = mixture_.width();
    const V x = x_of(column);
    math::Point<V, N> stills[n];
    for (int i = 0; i < n; ++i) stills[i] = still(x_of(column + i * lanes<T>));
    auto motion = [m = motion_.data()](int k) -> const auto& { return m[k - 1]; };
    const int anchors = int(mixture_.anchors);
    const T* p = row_logits_ + column * pixel_stride;
    if (pixel_stride == 1 && column + n * lanes<T> <= width) {
      auto logit = [=](int k, int i) {
        const T* at = p + k * anchor_stride + i * lanes<T>;
        // Prefetch the next row: there are more streams than the hardware prefetchers follow. Into the L2
        // cache, because in L1 the rows of planes of 2^n pixels would evict each other.
        __builtin_prefetch(at + width, 0, 2);
        return load<lanes<T>>(at);
      };
      return math::compose_logits<thresholded>(anchors, logit, motion, stills, x, keep, f);
    }
    if (pixel_stride == 1) {
      int counts[n];
      for (int i = 0; i < n; ++i) counts[i] = pixels_from<T>(column + i * lanes<T>, width);
      auto logit = [=](int k, int i) {
        return load_first<lanes<T>>(p + k * anchor_stride + i * lanes<T>, counts[i], S(0));
      };
      return math::compose_logits<thresholded>(anchors, logit, motion, stills, x, keep, f);
    }
    for (int i = 0; i < n; ++i) {
      const int64_t first = column + i * lanes<T>;
      const int count = pixels_from<T>(first, width);
      logits_.load_from(p + i * lanes<T> * pixel_stride, i, anchor_stride, pixel_stride, count,
                        first + count >= width);
    }
    auto logit = [&](int k, int i) { return logits_.planes(i)[k]; };
    math::compose_logits<thresholded>(anchors, logit, motion, stills, x, keep, f);
  }

  math::Point<S, N> z{};  // the row's coordinates, except x

 private:
  const AffineMixture<T, N>& mixture_;
  const T* row_logits_ = nullptr;
  S start_[N], step_[N], last_x_;
  Scratch<math::SteppedMotion<S, N>> motion_;
  math::RowMotion<S, N + 1> background_;
  Block<T> logits_;
};

}  // namespace internet::cpu::INTERNET_ISA
