// One row of bilinear samples: which source pixels every pixel of an output row reads, and with which
// weights, computed from the coarse motion. Filled a vector of pixels at a time, used one pixel at a time.
#pragma once

#include "cpu/runtime/scratch.h"
#include "cpu/sampling/map_rows.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/simd.h"
#include "math/confidence_warp.h"

namespace internet::cpu::INTERNET_ISA {

// For each pixel of the row: the clamped indices of the four pixels read (x_low <= x_high, ...), whether any
// of them counts, and their weights, multiplied by the confidence. Kernels take a copy, which stays in
// registers.
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

// The samples of `count` pixels, in memory for 5 * count indices and 4 * count weights.
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
        weights_(4 * padded_),
        x_(motion.field_resize),
        y_(motion.field_resize),
        confidence_(motion.confidence_resize) {
    Samples<S>::operator=(samples_in(integers_.data(), weights_.data(), padded_));
  }

  // The confidence of the row that was prepared last, ones if there is none.
  const S* confidence() const { return confidence_.data(); }

  [[gnu::noinline]] void prepare(int64_t image, int64_t row) {
    place(image, row);
    for (int64_t k = 0; k < motion_.width; k += lanes) {
      const math::Axis<V> x = x_axis(k), y = y_axis(k);
      const V m = load<lanes>(confidence_.data() + k);
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
    y_.at(field_map(motion_, image, 1), row);
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

  // From a row's corner dot products, corner_dots[4 * x + corner], and its dot products with the blend,
  // unless null, to the gradients of the fine motion.
  void motion_gradients(int64_t image, int64_t row, const S* corner_dots, const S* blend_dots, S* grad_x,
                        S* grad_y, S* grad_confidence) {
    place(image, row);
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
      const auto g = math::motion_gradient(x_axis(k), y_axis(k), load<lanes>(confidence_.data() + k), d,
                                           x_scale, y_scale);
      for (int i = 0; i < count; ++i) {
        grad_x[k + i] = g.x[i];
        grad_y[k + i] = g.y[i];
        grad_confidence[k + i] =
            blend_dots == nullptr ? g.confidence[i] : g.confidence[i] - blend_dots[k + i];
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
    return math::axis(math::unnormalize(load<lanes>(x_.data() + k), size, motion_.align_corners), size,
                      motion_.border);
  }
  math::Axis<V> y_axis(int64_t k) const {
    const S size = S(motion_.height);
    return math::axis(math::unnormalize(load<lanes>(y_.data() + k), size, motion_.align_corners), size,
                      motion_.border);
  }
  // Computes the motion of an output row.
  void place(int64_t image, int64_t row) {
    x_.at(field_map(motion_, image, 0), row);
    y_.at(field_map(motion_, image, 1), row);
    if (motion_.confidence.data != nullptr) confidence_.at(confidence_map(motion_, image), row);
  }

  const SampledMotion<S>& motion_;
  int64_t padded_;
  Scratch<int32_t> integers_;
  Scratch<S> weights_;
  MapRows<S> x_, y_, confidence_;
};

// Compiled once, in confidence_warp/motion.kernel.cpp.
extern template class BilinearRow<float>;
extern template class BilinearRow<double>;

}  // namespace internet::cpu::INTERNET_ISA
