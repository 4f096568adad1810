// One row of trilinear samples: which voxels every voxel of an output row reads, and with which weights.
// Filled a vector of samples at a time, used one sample at a time.
#pragma once

#include <algorithm>
#include <cstring>

#include "arguments/volume_warp_views.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/simd.h"
#include "math/confidence_warp.h"

namespace internet::cpu::INTERNET_ISA {

// The rows of a volume that samples read: row z * height + y is row y of slice z.
template <class S>
class TrilinearRow {
 public:
  static constexpr int lanes = native_lanes<S>, axes = 3, corners = 8, rows = 4;
  using V = Vec<S, lanes>;

  explicit TrilinearRow(const SampledVolume<S>& samples)
      : samples_(samples),
        padded_((samples.width + lanes - 1) / lanes * lanes),
        integers_((rows + 3) * padded_),
        values_((corners + axes + 1) * padded_) {
    int32_t* i = integers_.data();
    for (int32_t*& row : row_) row = i, i += padded_;
    for (int32_t** array : {&west_, &east_, &reads_}) *array = i, i += padded_;
    S* v = values_.data();
    for (S*& weight : weight_) weight = v, v += padded_;
    for (S*& coordinate : coordinate_) coordinate = v, v += padded_;
    confidence_ = v;
    for (int64_t k = 0; k < padded_; ++k) confidence_[k] = 1;
  }

  // Prepares output row `row`, counted through the slices. The weights include the confidence.
  [[gnu::noinline]] void prepare(int64_t image, int64_t row) {
    load(image, row);
    const V height = math::splat<V>(S(samples_.size[1]));
    for (int64_t k = 0; k < samples_.width; k += lanes) {
      math::Axis<V> axis[axes];
      axes_at(k, axis);
      const auto [x, y, z] = axis;
      const V m = cpu::load<lanes>(confidence_ + k);
      const math::Corners<V, axes> w = math::corner_weights<axes>(axis);
      const math::Corners<V> planes[] = {w.low, w.high};
      for (int i = 0; i < 2; ++i) {
        S** weight = weight_ + 4 * i;
        store<lanes>(weight[0] + k, m * planes[i].nw);
        store<lanes>(weight[1] + k, m * planes[i].ne);
        store<lanes>(weight[2] + k, m * planes[i].sw);
        store<lanes>(weight[3] + k, m * planes[i].se);
        const V slice = (i == 0 ? z.low : z.high) * height;
        store_integers(row_[2 * i] + k, slice + y.low);
        store_integers(row_[2 * i + 1] + k, slice + y.high);
      }
      store_integers(west_ + k, x.low);
      store_integers(east_ + k, x.high);
      store_integers(reads_ + k, math::select(math::reads_image<axes>(axis), math::splat<V>(1), V{}));
    }
  }

  // First and last row that the samples of an output row read.
  RowRange row_range(int64_t image, int64_t row) {
    prepare(image, row);
    RowRange range{INT32_MAX, -1};
    for (int64_t x = 0; x < samples_.width; ++x) {
      if (!reads_[x]) continue;
      range.first = std::min(range.first, row_[0][x]);
      range.last = std::max(range.last, row_[rows - 1][x]);
    }
    return range.last < 0 ? RowRange{0, -1} : range;
  }

  INTERNET_MEMBER bool reads(int64_t x) const { return reads_[x] != 0; }
  INTERNET_MEMBER int64_t first_row(int64_t x) const { return row_[0][x]; }
  INTERNET_MEMBER int64_t last_row(int64_t x) const { return row_[rows - 1][x]; }
  INTERNET_MEMBER S weight(int corner, int64_t x) const { return weight_[corner][x]; }

  // The eight voxels of sample x, in the order of the weights, given pixel-major rows.
  template <class T>
  INTERNET_MEMBER void voxels(int64_t x, T* const* row, int64_t column_stride, T* (&voxel)[corners]) const {
    const int64_t west = west_[x] * column_stride, east = east_[x] * column_stride;
    for (int i = 0; i < rows; ++i) {
      T* start = row[row_[i][x]];
      voxel[2 * i] = start + west;
      voxel[2 * i + 1] = start + east;
    }
  }

  // From the corner dot products of the prepared row, corner_dots[8 * x + corner], to the gradients of its
  // coordinates, three per sample, and of its confidence, unless null. They are overwritten if `first`,
  // otherwise added to.
  void motion_gradients(const S* corner_dots, bool first, S* grad_field, S* grad_confidence) const {
    S scales[axes];
    for (int i = 0; i < axes; ++i) {
      scales[i] = math::pixels_per_unit<S>(S(samples_.size[i]), samples_.align_corners);
    }
    for (int64_t k = 0; k < samples_.width; k += lanes) {
      const int count = int(std::min<int64_t>(lanes, samples_.width - k));
      V dots[corners] = {}, position[axes];
      for (int i = 0; i < count; ++i) {
        for (int corner = 0; corner < corners; ++corner) dots[corner][i] = corner_dots[8 * (k + i) + corner];
      }
      const math::Corners<V, axes> d = {{dots[0], dots[1], dots[2], dots[3]},
                                        {dots[4], dots[5], dots[6], dots[7]}};
      math::Axis<V> axis[axes];
      axes_at(k, axis);
      const V confidence =
          math::motion_gradient(axis, cpu::load<lanes>(confidence_ + k), d, scales, position);
      for (int i = 0; i < count; ++i) {
        S* out = grad_field + axes * (k + i);
        for (int c = 0; c < axes; ++c) out[c] = (first ? S(0) : out[c]) + position[c][i];
        if (grad_confidence != nullptr) {
          grad_confidence[k + i] = (first ? S(0) : grad_confidence[k + i]) + confidence[i];
        }
      }
    }
  }

 private:
  static void store_integers(int32_t* p, V v) {
    const auto integers = __builtin_convertvector(v, Vec<int32_t, lanes>);
    std::memcpy(p, &integers, sizeof(integers));
  }
  void axes_at(int64_t k, math::Axis<V> (&axis)[axes]) const {
    for (int i = 0; i < axes; ++i) {
      const S size = S(samples_.size[i]);
      const V t = math::unnormalize(cpu::load<lanes>(coordinate_[i] + k), size, samples_.align_corners);
      axis[i] = math::axis(t, size, samples_.border);
    }
  }
  // The last vector of a row may reach past its end: there it repeats the last sample.
  void load(int64_t image, int64_t row) {
    const int64_t slice = row / samples_.height, y = row % samples_.height;
    const auto& field = samples_.field;
    const S* at = field.data + image * field.stride[0] + slice * field.stride[1] + y * field.stride[2];
    for (int i = 0; i < axes; ++i) copy(at + i * field.stride[4], field.stride[3], coordinate_[i]);
    const auto& map = samples_.confidence;
    if (map.data == nullptr) return;  // stays at the ones set by the constructor
    copy(map.data + image * map.stride[0] + slice * map.stride[2] + y * map.stride[3], map.stride[4],
         confidence_);
  }
  void copy(const S* from, int64_t step, S* to) const {
    for (int64_t x = 0; x < samples_.width; ++x) to[x] = from[x * step];
    for (int64_t x = samples_.width; x < padded_; ++x) to[x] = to[samples_.width - 1];
  }

  const SampledVolume<S>& samples_;
  int64_t padded_;
  Scratch<int32_t> integers_;
  Scratch<S> values_;
  int32_t *row_[rows], *west_, *east_, *reads_;
  S *weight_[corners], *coordinate_[axes], *confidence_;
};

}  // namespace internet::cpu::INTERNET_ISA
