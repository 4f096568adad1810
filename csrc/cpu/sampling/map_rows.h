// One map of a motion at the size of the features, one row at a time, for either way of resizing; and the
// adjoint.
#pragma once

#include "arguments/confidence_warp_views.h"
#include "cpu/sampling/interpolate_rows.h"
#include "cpu/simd/simd.h"

namespace internet::cpu::INTERNET_ISA {

template <class S>
INTERNET_HD CoarseMap<S> field_map(const SampledMotion<S>& motion, int64_t image, int64_t coordinate) {
  const auto& [data, stride] = motion.field;
  return {data + image * stride[0] + coordinate * stride[3], stride[1], stride[2], motion.field_resize.height,
          motion.field_resize.width};
}
template <class S>
INTERNET_HD CoarseMap<S> confidence_map(const SampledMotion<S>& motion, int64_t image) {
  const auto& [data, stride] = motion.confidence;
  return {data + image * stride[0], stride[2], stride[3], motion.confidence_resize.height,
          motion.confidence_resize.width};
}

// Without columns if there is no interpolation.
template <class S>
INTERNET_HD ColumnTaps<S> column_taps(const MapResize& resize) {
  return ColumnTaps<S>(resize.interpolates ? resize.columns<>() : math::Interpolation<>{});
}

template <class S>
class MapRows {
 public:
  static constexpr int lanes = native_lanes<S>;

  // Until a row is requested, it holds ones.
  explicit MapRows(const MapResize& resize)
      : resize_(resize),
        padded_((resize.fine_width + lanes - 1) / lanes * lanes),
        columns_(column_taps<S>(resize)),
        interpolated_(resize, columns_),
        scratch_(resize.width),
        fine_(padded_) {
    std::fill_n(fine_.data(), padded_, S(1));
  }

  // The last vector of a row may reach past its end: there it repeats the last pixel.
  const S* at(const CoarseMap<S>& map, int64_t row) {
    if (resize_.interpolates) {
      interpolated_.row(map, row, fine_.data());
    } else {
      upsample_row(map, resize_.ratio(), row, scratch_.data(), fine_.data());
    }
    for (int64_t x = resize_.fine_width; x < padded_; ++x) fine_[x] = fine_[resize_.fine_width - 1];
    return fine_.data();
  }
  const S* data() const { return fine_.data(); }

 private:
  const MapResize& resize_;
  int64_t padded_;
  ColumnTaps<S> columns_;
  InterpolatedRows<S> interpolated_;
  Scratch<S> scratch_, fine_;
};

// The adjoint: row p of the coarse map's gradient gathers from the fine rows that read it.
template <class S>
class MapAdjoint {
 public:
  explicit MapAdjoint(const MapResize& resize)
      : resize_(resize), columns_(column_taps<S>(resize)), scratch_(resize.fine_width) {}

  // Adds to coarse[x * coarse_step]; fine rows are fine_stride apart.
  void fold_row(const S* fine, int64_t fine_stride, int64_t p, S* coarse, int64_t coarse_step) {
    if (resize_.interpolates) {
      fold_interpolated_row(fine, fine_stride, resize_, columns_, p, scratch_.data(), coarse, coarse_step);
    } else {
      internet::cpu::INTERNET_ISA::fold_row(fine, fine_stride, resize_.ratio(), resize_.height, resize_.width,
                                            p, scratch_.data(), coarse, coarse_step);
    }
  }

 private:
  const MapResize& resize_;
  ColumnTaps<S> columns_;
  Scratch<S> scratch_;
};

}  // namespace internet::cpu::INTERNET_ISA
