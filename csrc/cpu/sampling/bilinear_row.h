// One row of bilinear samples: which source pixels every pixel of an output row reads, and with which
// weights, from the coarse motion. Made a vector of pixels at a time, used one pixel at a time.
#pragma once

#include "arguments/confidence_warp_views.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/row_range.h"
#include "cpu/sampling/upsample_rows.h"
#include "cpu/simd/simd.h"
#include "math/confidence_warp.h"

namespace internet::cpu::INTERNET_ISA {

// Per pixel of the row: the clamped indices of the four pixels read (x_low <= x_high, ...), whether any
// counts at all, and their weights, confidence included. Kernels take a copy, which lives in registers.
template <class S>
struct Samples {
  int32_t *x_low, *x_high, *y_low, *y_high, *reads;
  S *nw, *ne, *sw, *se;

  INTERNET_MEMBER void assign(int64_t i, const Samples& other, int64_t j) const {
    x_low[i] = other.x_low[j], x_high[i] = other.x_high[j];
    y_low[i] = other.y_low[j], y_high[i] = other.y_high[j], reads[i] = other.reads[j];
    nw[i] = other.nw[j], ne[i] = other.ne[j], sw[i] = other.sw[j], se[i] = other.se[j];
  }
};

// Of `count` pixels, in memory of 5 * count indices and 4 * count weights.
template <class S>
INTERNET_HD Samples<S> samples_in(int32_t* i, S* w, int64_t count) {
  return {i, i + count, i + 2 * count, i + 3 * count, i + 4 * count,
          w, w + count, w + 2 * count, w + 3 * count};
}

template <class S>
class BilinearRow : public Samples<S> {
 public:
  static constexpr int lanes = native_lanes<S>;
  using V = Vec<S, lanes>;
  using Samples<S>::x_low, Samples<S>::x_high, Samples<S>::y_low, Samples<S>::y_high, Samples<S>::reads;
  using Samples<S>::nw, Samples<S>::ne, Samples<S>::sw, Samples<S>::se;

  explicit BilinearRow(const SampledMotion<S>& motion)
      : motion_(motion),
        padded_((motion.width + lanes - 1) / lanes * lanes),
        integers_(5 * padded_),
        values_(8 * padded_) {
    Samples<S>::operator=(samples_in(integers_.data(), values_.data(), padded_));
    S* v = values_.data() + 4 * padded_;
    for (S** array : {&x_, &y_, &confidence_, &scratch_}) *array = v, v += padded_;
    for (int64_t k = 0; k < padded_; ++k) confidence_[k] = 1;
  }

  [[gnu::noinline]] void prepare(int64_t image, int64_t row) {
    upsample_field(0, image, row, x_);
    upsample_field(1, image, row, y_);
    upsample_confidence(image, row);
    for (int64_t k = 0; k < motion_.width; k += lanes) {
      const math::Axis<V> x = x_axis(k), y = y_axis(k);
      const V m = load<lanes>(confidence_ + k);
      const math::Corners<V> w = math::corner_weights(x, y);
      store<lanes>(nw + k, m * w.nw);
      store<lanes>(ne + k, m * w.ne);
      store<lanes>(sw + k, m * w.sw);
      store<lanes>(se + k, m * w.se);
      store_integers(x_low + k, x.low);
      store_integers(x_high + k, x.high);
      store_integers(y_low + k, y.low);
      store_integers(y_high + k, y.high);
      store_integers(reads + k, math::select(math::reads_image(x, y), math::splat<V>(1), V{}));
    }
  }

  // First and last source row that the pixels of the output row read.
  RowRange row_range(int64_t image, int64_t row) {
    upsample_field(1, image, row, y_);
    V low = math::splat<V>(S(motion_.height)), high = V{};
    for (int64_t k = 0; k < motion_.width; k += lanes) {
      const math::Axis<V> y = y_axis(k);
      low = math::select(y.low < low, y.low, low);
      high = math::select(y.high > high, y.high, high);
    }
    S lows[lanes], highs[lanes];
    store<lanes>(lows, low);
    store<lanes>(highs, high);
    for (int i = 1; i < lanes; ++i) {
      lows[0] = lows[i] < lows[0] ? lows[i] : lows[0];
      highs[0] = highs[i] > highs[0] ? highs[i] : highs[0];
    }
    return {int32_t(lows[0]), int32_t(highs[0])};
  }

  // From the corner dot products of a row, corner_dots[4 * x + corner], to the gradients of the fine motion.
  void motion_gradients(int64_t image, int64_t row, const S* corner_dots, S* grad_x, S* grad_y,
                        S* grad_confidence) {
    upsample_field(0, image, row, x_);
    upsample_field(1, image, row, y_);
    upsample_confidence(image, row);
    const S x_scale = math::pixels_per_unit<S>(S(motion_.width), motion_.align_corners);
    const S y_scale = math::pixels_per_unit<S>(S(motion_.height), motion_.align_corners);
    for (int64_t k = 0; k < motion_.width; k += lanes) {
      math::Corners<V> d{};
      const int count = int(std::min<int64_t>(lanes, motion_.width - k));
      for (int i = 0; i < count; ++i) {
        d.nw[i] = corner_dots[4 * (k + i)];
        d.ne[i] = corner_dots[4 * (k + i) + 1];
        d.sw[i] = corner_dots[4 * (k + i) + 2];
        d.se[i] = corner_dots[4 * (k + i) + 3];
      }
      const auto g =
          math::motion_gradient(x_axis(k), y_axis(k), load<lanes>(confidence_ + k), d, x_scale, y_scale);
      for (int i = 0; i < count; ++i) {
        grad_x[k + i] = g.x[i];
        grad_y[k + i] = g.y[i];
        grad_confidence[k + i] = g.confidence[i];
      }
    }
  }

 private:
  static void store_integers(int32_t* p, V v) {
    const auto integers = __builtin_convertvector(v, Vec<int32_t, lanes>);
    std::memcpy(p, &integers, sizeof(integers));
  }
  math::Axis<V> x_axis(int64_t k) const {
    const S size = S(motion_.width);
    return math::axis(math::unnormalize(load<lanes>(x_ + k), size, motion_.align_corners), size,
                      motion_.border);
  }
  math::Axis<V> y_axis(int64_t k) const {
    const S size = S(motion_.height);
    return math::axis(math::unnormalize(load<lanes>(y_ + k), size, motion_.align_corners), size,
                      motion_.border);
  }
  void upsample_field(int64_t coordinate, int64_t image, int64_t row, S* fine) {
    const auto& field = motion_.field;
    const S* data = field.data + image * field.stride[0] + coordinate * field.stride[3];
    upsample_row(coarse_map(data, field.stride[1], field.stride[2]), motion_.ratio(), row, scratch_, fine);
    // The last vector of a row may reach past its end: there it repeats the last pixel.
    for (int64_t k = motion_.width; k < padded_; ++k) fine[k] = fine[motion_.width - 1];
  }
  void upsample_confidence(int64_t image, int64_t row) {
    const auto& map = motion_.confidence;
    if (map.data == nullptr) return;  // ones, since the constructor
    const S* data = map.data + image * map.stride[0];
    upsample_row(coarse_map(data, map.stride[2], map.stride[3]), motion_.ratio(), row, scratch_, confidence_);
  }
  CoarseMap<S> coarse_map(const S* data, int64_t row_stride, int64_t column_stride) const {
    return {data, row_stride, column_stride, motion_.height / motion_.ratio(),
            motion_.width / motion_.ratio()};
  }

  const SampledMotion<S>& motion_;
  int64_t padded_;
  Scratch<int32_t> integers_;
  Scratch<S> values_;
  S *x_, *y_, *confidence_, *scratch_;
};

// Compiled once, in confidence_warp/motion.kernel.cpp.
extern template class BilinearRow<float>;
extern template class BilinearRow<double>;

}  // namespace internet::cpu::INTERNET_ISA
