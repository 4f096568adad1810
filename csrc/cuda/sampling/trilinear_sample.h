// A trilinear sample as kernels pass it from where it is computed, once, to where channels are read.
#pragma once

#include <cstdint>

#include "arguments/volume_warp_views.h"
#include "cuda/sampling/bilinear_sample.h"

namespace internet::cuda {

// The first voxel, and whether the voxels to the east, to the south and in the next slice differ from it. If
// they would lie outside the volume, they are replaced by the voxel itself.
template <class S>
struct alignas(16) TrilinearSample {
  math::Corners<S, 3> weights;
  int slice, row, column;
  bool east, south, after;
  bool reads;  // whether it reads the volume at all; the voxel is inside the volume even if not
};

template <class S>
INTERNET_HD TrilinearSample<S> trilinear_sample(math::Axis<S> (&axes)[3], S factor) {
  TrilinearSample<S> s;
  s.reads = math::reads_image<3>(axes);
  s.column = int(axes[0].low);
  s.row = int(axes[1].low);
  s.slice = int(axes[2].low);
  s.east = two_pixels(axes[0]);
  s.south = two_pixels(axes[1]);
  s.after = two_pixels(axes[2]);
  axes[2].low_weight *= factor;
  axes[2].high_weight *= factor;
  s.weights = math::corner_weights<3>(axes);
  return s;
}

// The offsets of the eight voxels in a volume, given the distances between slices, rows and columns.
template <class S>
INTERNET_HD math::Corners<int64_t, 3> voxels_of(const TrilinearSample<S>& s, int64_t slice_stride,
                                                int64_t row_stride, int64_t column_stride) {
  const int64_t first = s.slice * slice_stride + s.row * row_stride + s.column * column_stride;
  const int64_t east = s.east ? column_stride : 0, south = s.south ? row_stride : 0;
  const int64_t after = first + (s.after ? slice_stride : 0);
  return {Footprint<int64_t>{first, east, south}.corners(), Footprint<int64_t>{after, east, south}.corners()};
}

// The axes of the sample of an output voxel, and its confidence; `row` is counted through the slices.
template <class S>
INTERNET_HD S axes_at(const SampledVolume<S>& m, int64_t image, int64_t row, int64_t column,
                      math::Axis<S> (&axes)[3]) {
  const int64_t slice = row / m.height, y = row - slice * m.height;
  const auto &field = m.field.stride, &map = m.confidence.stride;
  const S* z = m.field.data + image * field[0] + slice * field[1] + y * field[2] + column * field[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const S size = S(m.size[i]);
    axes[i] = math::axis(math::unnormalize(z[i * field[4]], size, m.align_corners), size, m.border);
  }
  if (m.confidence.data == nullptr) return S(1);
  return m.confidence.data[image * map[0] + slice * map[2] + y * map[3] + column * map[4]];
}
template <class S>
INTERNET_HD TrilinearSample<S> sample_at(const SampledVolume<S>& m, int64_t image, int64_t row,
                                         int64_t column) {
  math::Axis<S> axes[3];
  const S confidence = axes_at(m, image, row, column, axes);
  return trilinear_sample(axes, confidence);
}

}  // namespace internet::cuda
