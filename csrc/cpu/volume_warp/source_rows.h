// The rows of a volume as pixels, a block of channels at a time: in place, or in a ring of those that are
// resident while output rows are walked.
#pragma once

#include <algorithm>

#include "cpu/sampling/pixel_rows.h"
#include "cpu/sampling/resident_rows.h"
#include "cpu/simd/nchw_nhwc.h"

namespace internet::cpu::INTERNET_ISA {

// Row `row`, counted through the slices, of an image of (batch, channels, depth, height, width), from one
// channel on.
template <class T>
INTERNET_HD ImageRow<T> volume_row(const Strided<T, 5>& volume, int64_t image, int64_t first_channel,
                                   int64_t channels, int64_t row, int64_t height, int64_t width) {
  const auto& stride = volume.stride;
  T* data = volume.data + image * stride[0] + first_channel * stride[1] + row / height * stride[2] +
            row % height * stride[3];
  return {data, stride[1], stride[4], width, channels};
}

template <int K, class T>
class SourceRows {
 public:
  // For the rows of a volume of `size` (width, height, depth) that output rows with these ranges read.
  SourceRows(const Strided<const T, 5>& volume, const int64_t (&size)[3], const RowRange* ranges,
             Band outputs, int64_t image, int64_t first_channel, int64_t channels, int64_t padded,
             bool in_place)
      : volume_(volume),
        height_(size[1]),
        width_(size[0]),
        count_(size[1] * size[2]),
        ranges_(ranges + outputs.begin),
        image_(image),
        first_channel_(first_channel),
        channels_(channels),
        padded_(padded),
        in_place_(in_place),
        slots_(in_place ? 0 : planned_slots(outputs)),
        ring_(slots_ * width_ * padded),
        rows_(count_) {
    if (in_place) {
      for (int64_t row = 0; row < count_; ++row) rows_[row] = of_volume(row).data;
    } else {
      ready_ = resident_.needed_from(0);
    }
  }

  // To be called before output row `step` of the band is sampled.
  void need(int64_t step) {
    if (in_place_) return;
    for (; ready_ <= ranges_[step].last; ++ready_) {
      T* slot = ring_.data() + ready_ % slots_ * width_ * padded_;
      const int64_t ahead = (ready_ + 1) % height_ != 0 ? volume_.stride[3] : 0;
      planes_to_pixels<K, T>(of_volume(ready_), slot, padded_, ahead);
      rows_[ready_] = slot;
    }
  }
  PixelRows<const T> pixels() const { return {rows_.data(), in_place_ ? volume_.stride[4] : padded_}; }

 private:
  int64_t planned_slots(Band outputs) {
    resident_.plan(ranges_, outputs.end - outputs.begin, 0, int32_t(count_));
    return resident_.tallest();
  }
  ImageRow<const T> of_volume(int64_t row) const {
    return volume_row(volume_, image_, first_channel_, channels_, row, height_, width_);
  }

  const Strided<const T, 5>& volume_;
  const int64_t height_, width_, count_;
  const RowRange* ranges_;
  const int64_t image_, first_channel_, channels_, padded_;
  const bool in_place_;
  ResidentRows resident_;
  const int64_t slots_;
  int64_t ready_ = 0;
  Scratch<T> ring_;
  Scratch<const T*> rows_;
};

}  // namespace internet::cpu::INTERNET_ISA
