// Coarse maps interpolated to any size, one row at a time, and the adjoint: the counterpart of
// upsample_rows.h for math/interpolate.h.
#pragma once

#include "cpu/runtime/scratch.h"
#include "cpu/sampling/upsample_rows.h"
#include "math/interpolate.h"

namespace internet::cpu::INTERNET_ISA {

// What every fine pixel of a row reads.
template <class S>
class ColumnTaps {
 public:
  explicit ColumnTaps(const math::Interpolation<>& columns)
      : count_(columns.fine_size), low_(count_), high_(count_), fraction_(count_) {
    for (int64_t x = 0; x < count_; ++x) {
      const auto taps = columns.template taps<S>(x);
      low_[x] = int32_t(taps.low), high_[x] = int32_t(taps.high), fraction_[x] = taps.fraction;
    }
  }

  // A coarse row, whose pixels are `step` elements apart, interpolated at the fine columns.
  void interpolate(const S* coarse, int64_t step, S* fine) const {
    for (int64_t x = 0; x < count_; ++x) {
      fine[x] = math::interpolate(coarse[low_[x] * step], coarse[high_[x] * step], fraction_[x]);
    }
  }
  // The adjoint: adds to the coarse row.
  void fold(const S* fine, S* coarse, int64_t step) const {
    for (int64_t x = 0; x < count_; ++x) {
      coarse[low_[x] * step] += (1 - fraction_[x]) * fine[x];
      if (fraction_[x] != 0) coarse[high_[x] * step] += fraction_[x] * fine[x];
    }
  }

 private:
  int64_t count_;
  Scratch<int32_t> low_, high_;
  Scratch<S> fraction_;
};

// The fine rows of a map. Each lies between two coarse rows. These two are kept, interpolated at the fine
// columns, because neighbouring fine rows mostly share them.
template <class S>
class InterpolatedRows {
 public:
  InterpolatedRows(const MapResize& resize, const ColumnTaps<S>& columns)
      : resize_(resize), columns_(columns), rows_(2 * resize.fine_width) {}

  void row(const CoarseMap<S>& map, int64_t row, S* fine) {
    const auto taps = resize_.rows<>().template taps<S>(row);
    const S *low = at_fine_columns(map, taps.low), *high = at_fine_columns(map, taps.high);
    for (int64_t x = 0; x < resize_.fine_width; ++x) {
      fine[x] = math::interpolate(low[x], high[x], taps.fraction);
    }
  }

 private:
  const S* at_fine_columns(const CoarseMap<S>& map, int64_t row) {
    const S* coarse = map.data + row * map.row_stride;
    S* fine = rows_.data() + row % 2 * resize_.fine_width;
    if (kept_[row % 2] != coarse) columns_.interpolate(coarse, map.column_stride, fine);
    kept_[row % 2] = coarse;
    return fine;
  }

  const MapResize& resize_;
  const ColumnTaps<S>& columns_;
  Scratch<S> rows_;
  const S* kept_[2] = {};
};

// The adjoint: adds to row p of the coarse map's gradient what it receives from the fine plane's gradient.
// `scratch` holds a fine row.
template <class S>
inline void fold_interpolated_row(const S* fine, int64_t fine_stride, const MapResize& resize,
                                  const ColumnTaps<S>& columns, int64_t p, S* scratch, S* coarse,
                                  int64_t coarse_step) {
  const math::Interpolation<> rows = resize.rows<>();
  std::fill_n(scratch, resize.fine_width, S(0));
  for (int64_t y = rows.first_reader(p); y < rows.first_beyond(p); ++y) {
    const S weight = rows.template weight<S>(p, y);
    if (weight == 0) continue;
    for (int64_t x = 0; x < resize.fine_width; ++x) scratch[x] += weight * fine[y * fine_stride + x];
  }
  columns.fold(scratch, coarse, coarse_step);
}

}  // namespace internet::cpu::INTERNET_ISA
