// Coarse motion maps, upsampled one full-resolution row at a time, and the adjoint for their gradients.
//
// A map is one channel: x or y of a field, or a confidence. The kernels need it at r = 2^i times its size;
// they compute the one fine row they are about to use and store nothing else. Gradients arrive as fine rows,
// and every coarse row gathers from the (at most 3r) fine rows that it contributes to: no two tasks write the
// same value, so any number of threads gives the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cpu/runtime/isa.h"
#include "math/upsample_motion.h"

namespace internet::cpu::INTERNET_ISA {

// One channel of one image, (height, width), strides in elements. S is float or double.
template <class S>
struct CoarseMap {
  const S* data;
  int64_t row_stride, column_stride;
  int64_t height, width;
};

namespace detail {

// The fine pixels of coarse column p, which has the values (before, here, after). R is the ratio if it is
// known at compile time (the taps are then constants and the loop over phases is unrolled), or 0.
template <int R, class S>
INTERNET_HD void upsample_column(S before, S here, S after, int64_t ratio, S* fine) {
  const int64_t r = R > 0 ? R : ratio;
  fine[0] = math::upsample(math::upsample_taps<S>(r, 0), before, here, here);
#pragma GCC unroll 8
  for (int64_t s = 1; s < r - 1; ++s) {
    const auto taps = math::upsample_taps<S>(r, s);  // only the taps at the ends can be zero
    fine[s] = taps.here * here + taps.before * before + taps.after * after;
  }
  if (r > 1) fine[r - 1] = math::upsample(math::upsample_taps<S>(r, r - 1), here, here, after);
}

template <int R, class S>
INTERNET_HD void upsample_columns(const S* __restrict coarse, int64_t width, int64_t ratio,
                                  S* __restrict fine) {
  const int64_t r = R > 0 ? R : ratio, last = width - 1;
  upsample_column<R>(coarse[0], coarse[0], coarse[std::min<int64_t>(1, last)], r, fine);
  for (int64_t p = 1; p < last; ++p) {
    upsample_column<R>(coarse[p - 1], coarse[p], coarse[p + 1], r, fine + p * r);
  }
  if (last > 0) upsample_column<R>(coarse[last - 1], coarse[last], coarse[last], r, fine + last * r);
}

// Down the columns, three coarse rows to one that is not any wider. A row with the weight zero is not read.
template <class S, class Step>
INTERNET_HD void weigh_rows(const math::UpsampleTaps<S>& taps, const S* before, const S* here, const S* after,
                            Step step, int64_t width, S* __restrict sums) {
  for (int64_t x = 0; x < width; ++x) sums[x] = taps.here * here[x * step];
  if (taps.before != 0) {
    for (int64_t x = 0; x < width; ++x) sums[x] += taps.before * before[x * step];
  }
  if (taps.after != 0) {
    for (int64_t x = 0; x < width; ++x) sums[x] += taps.after * after[x * step];
  }
}

}  // namespace detail

// Fine row `row` (0 <= row < height * ratio) into fine[width * ratio]. `scratch` holds `width` values.
template <class S>
INTERNET_HD void upsample_row(const CoarseMap<S>& map, int64_t ratio, int64_t row, S* scratch, S* fine) {
  if (map.width == 0) return;
  const int64_t p = row / ratio;
  const auto taps = math::upsample_taps<S>(ratio, row - p * ratio);
  const S* here = map.data + p * map.row_stride;
  const S* before = map.data + std::max<int64_t>(p - 1, 0) * map.row_stride;
  const S* after = map.data + std::min(p + 1, map.height - 1) * map.row_stride;
  S* sums = ratio == 1 ? fine : scratch;
  // A confidence's columns are next to each other, a field's two apart: then whole vectors are read.
  if (map.column_stride == 1) {
    detail::weigh_rows(taps, before, here, after, std::integral_constant<int64_t, 1>(), map.width, sums);
  } else if (map.column_stride == 2) {
    detail::weigh_rows(taps, before, here, after, std::integral_constant<int64_t, 2>(), map.width, sums);
  } else {
    detail::weigh_rows(taps, before, here, after, map.column_stride, map.width, sums);
  }
  switch (ratio) {
    case 1:
      return;
    case 2:
      return detail::upsample_columns<2>(scratch, map.width, 2, fine);
    case 4:
      return detail::upsample_columns<4>(scratch, map.width, 4, fine);
    case 8:
      return detail::upsample_columns<8>(scratch, map.width, 8, fine);
    default:
      return detail::upsample_columns<0>(scratch, map.width, ratio, fine);
  }
}

// The adjoint along the columns: writes into sums[fine_width] the weighted sum of the fine rows that read
// coarse row p. There are height * ratio of them, `fine_stride` apart.
template <class S>
INTERNET_HD void fold_down(const S* fine, int64_t fine_stride, int64_t ratio, int64_t height,
                           int64_t fine_width, int64_t p, S* sums, int64_t fine_step = 1) {
  for (int64_t x = 0; x < fine_width; ++x) sums[x] = 0;
  const int64_t first = std::max<int64_t>(p - 1, 0) * ratio, end = std::min(p + 2, height) * ratio;
  for (int64_t y = first; y < end; ++y) {
    const S weight = math::upsample_weight<S>(ratio, height, p, y);
    if (weight == 0) continue;
    const S* row = fine + y * fine_stride;
    if (fine_step == 1) {
      for (int64_t x = 0; x < fine_width; ++x) sums[x] += weight * row[x];
    } else {
      for (int64_t x = 0; x < fine_width; ++x) sums[x] += weight * row[x * fine_step];
    }
  }
}

// The adjoint: adds to row p of the coarse map's gradient, coarse[x * coarse_step], what it receives from the
// fine plane's gradient (height * ratio rows of width * ratio values, `fine_stride` and `fine_step` apart).
// `scratch` holds width * ratio values.
template <class S>
INTERNET_HD void fold_row(const S* fine, int64_t fine_stride, int64_t ratio, int64_t height, int64_t width,
                          int64_t p, S* scratch, S* coarse, int64_t coarse_step, int64_t fine_step = 1) {
  fold_down(fine, fine_stride, ratio, height, width * ratio, p, scratch, fine_step);
  // Along the row: each group of r fine pixels adds three sums, to the columns before, here and after.
  const S* group = scratch;
  for (int64_t q = 0; q < width; ++q, group += ratio) {
    S before = 0, here = 0, after = 0;
    for (int64_t s = 0; s < ratio; ++s) {
      const auto taps = math::upsample_taps<S>(ratio, s);
      if (taps.before != 0) before += taps.before * group[s];
      here += taps.here * group[s];
      if (taps.after != 0) after += taps.after * group[s];
    }
    coarse[std::max<int64_t>(q - 1, 0) * coarse_step] += before;
    coarse[q * coarse_step] += here;
    coarse[std::min(q + 1, width - 1) * coarse_step] += after;
  }
}

namespace detail {

// One step of the adjoint along a row, from 2 * width values to `width`.
template <class S>
INTERNET_HD void fold_pairs(const S* __restrict fine, int64_t width, S* __restrict coarse) {
  const auto taps = math::upsample_taps<S>(2, 0);  // the second of a pair has them mirrored
  for (int64_t q = 1; q < width - 1; ++q) {
    coarse[q] =
        taps.here * (fine[2 * q] + fine[2 * q + 1]) + taps.before * (fine[2 * q - 1] + fine[2 * q + 2]);
  }
  for (int64_t q = 0; q < width;
       q += std::max<int64_t>(width - 1, 1)) {  // the end pixels take the place of their missing neighbours
    const S before = fine[q > 0 ? 2 * q - 1 : 0], after = fine[std::min(2 * q + 2, 2 * width - 1)];
    coarse[q] = taps.here * (fine[2 * q] + fine[2 * q + 1]) + taps.before * (before + after);
  }
}

}  // namespace detail

// The adjoint along one fine row of width * ratio values, which it overwrites, into coarse[width]: the row is
// halved as often as the map was doubled. `scratch` holds width * ratio / 2 values.
template <class S>
INTERNET_HD void fold_along(S* fine, int64_t ratio, int64_t width, S* scratch, S* coarse) {
  if (ratio == 1) {
    std::copy_n(fine, width, coarse);
    return;
  }
  S *from = fine, *to = scratch;
  for (int64_t r = ratio / 2; r > 1; r /= 2) {
    detail::fold_pairs(from, width * r, to);
    std::swap(from, to);
  }
  detail::fold_pairs(from, width, coarse);
}

}  // namespace internet::cpu::INTERNET_ISA
