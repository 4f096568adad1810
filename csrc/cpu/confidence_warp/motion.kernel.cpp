// The kernels that concern the motion alone: where the samples of a row lie, in which order to take them, and
// the gradients of the coarse maps from the corner dot products.
#include <algorithm>
#include <cstring>

#include "cpu/confidence_warp/kernels.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/bilinear_row.h"

namespace internet::cpu::INTERNET_ISA {

template <class S>
void warp_row_ranges(const RowRanges<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  BilinearRow<S> samples(p.motion);
  for (int64_t task = begin; task < end; ++task) {
    p.row_ranges[task] = samples.row_range(task / p.motion.height, task % p.motion.height);
  }
}

// A counting sort, which is stable.
template <class S>
void warp_sort_samples(const SortSamples<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t height = p.motion.height, width = p.motion.width, count = height * width;
  BilinearRow<S> row(p.motion);
  for (int64_t image = begin; image < end; ++image) {
    int32_t* starts = p.order.starts + image * (height + 1);
    int32_t* pixels = p.order.pixels + image * count;
    const Samples<S> to =
        samples_in(p.order.indices + image * 5 * count, p.order.weights + image * 4 * count, count);
    Scratch<int32_t> next(height + 1);
    std::fill_n(next.data(), height + 1, 0);
    for (int64_t y = 0; y < height; ++y) {
      row.prepare(image, y);
      for (int64_t x = 0; x < width; ++x) ++next[row.y_low[x] + 1];
    }
    for (int64_t y = 0; y < height; ++y) next[y + 1] += next[y];
    std::copy_n(next.data(), height + 1, starts);
    for (int64_t y = 0; y < height; ++y) {
      row.prepare(image, y);
      for (int64_t x = 0; x < width; ++x) {
        const int32_t i = next[row.y_low[x]]++;
        pixels[i] = int32_t(y * width + x);
        to.assign(i, row, x);
      }
    }
  }
}

template <class S>
void warp_motion_gradient(const MotionBackward<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t width = p.motion.width;
  BilinearRow<S> samples(p.motion);
  Scratch<S> corner_dots(4 * width);
  for (int64_t task = begin; task < end; ++task) {
    S* row = p.corner_dots + task * 4 * width;
    std::memcpy(corner_dots.data(), row, size_t(4 * width) * sizeof(S));
    for (int64_t group = 1; group < p.groups; ++group) {
      const S* other = row + group * p.batch * p.motion.height * 4 * width;
      for (int64_t i = 0; i < 4 * width; ++i) corner_dots[i] += other[i];
    }
    const S* blend_dots = p.blend_dots == nullptr ? nullptr : p.blend_dots + task * width;
    samples.motion_gradients(task / p.motion.height, task % p.motion.height, corner_dots.data(), blend_dots,
                             row, row + width, row + 2 * width);
  }
}

template <class S>
void warp_map_fold(const MapFold<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const MapResize& resize = p.resize;
  MapAdjoint<S> adjoint(resize);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / resize.height, row = task % resize.height;
    const S* fine = p.fine + image * resize.fine_height * p.fine_stride;
    S* coarse = p.coarse + task * resize.width * p.channels;
    if (!p.accumulate) std::fill_n(coarse, resize.width * p.channels, S(0));
    for (int64_t channel = 0; channel < p.channels; ++channel) {
      adjoint.fold_row(fine + channel * resize.fine_width, p.fine_stride, row, coarse + channel, p.channels);
    }
  }
}

template class BilinearRow<float>;
template class BilinearRow<double>;
template void warp_row_ranges<float>(const RowRanges<float>&, int64_t, int64_t);
template void warp_row_ranges<double>(const RowRanges<double>&, int64_t, int64_t);
template void warp_sort_samples<float>(const SortSamples<float>&, int64_t, int64_t);
template void warp_sort_samples<double>(const SortSamples<double>&, int64_t, int64_t);
template void warp_motion_gradient<float>(const MotionBackward<float>&, int64_t, int64_t);
template void warp_motion_gradient<double>(const MotionBackward<double>&, int64_t, int64_t);
template void warp_map_fold<float>(const MapFold<float>&, int64_t, int64_t);
template void warp_map_fold<double>(const MapFold<double>&, int64_t, int64_t);

}  // namespace internet::cpu::INTERNET_ISA
