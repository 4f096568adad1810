// Maps of the motion as kernels read them: a pixel of a map, and a pixel of what it is upsampled to.
#pragma once

#include "arguments/strided.h"
#include "math/upsample_motion.h"

namespace internet::cuda {

// One channel of one image.
template <class S>
struct Map {
  const S* data;
  int64_t row_stride, column_stride;

  INTERNET_MEMBER S at(int64_t row, int64_t column) const {
    return data[row * row_stride + column * column_stride];
  }
};

template <class S>
INTERNET_HD Map<S> flow_map(const Strided<const S, 4>& flow, int64_t image, int coordinate) {
  return {flow.data + image * flow.stride[0] + coordinate * flow.stride[3], flow.stride[1], flow.stride[2]};
}
template <class S>
INTERNET_HD Map<S> confidence_map(const Strided<const S, 4>& confidence, int64_t image) {
  return {confidence.data + image * confidence.stride[0], confidence.stride[2], confidence.stride[3]};
}

// Along one axis: the pixel before, the pixel itself and the one after, the border repeated.
struct Neighbours {
  int64_t before, here, after;
};
INTERNET_HD Neighbours neighbours(int64_t here, int64_t size) {
  return {here > 0 ? here - 1 : 0, here, here + 1 < size ? here + 1 : here};
}

// Along one axis of a map after `steps` progressive 2x steps: what fine pixel `fine` reads of the `size`
// coarse ones.
template <class S>
struct FineAxis {
  Neighbours coarse;
  math::UpsampleTaps<S> taps;
};
template <class S>
INTERNET_HD FineAxis<S> fine_axis(int64_t fine, int steps, int64_t size) {
  const int64_t ratio = int64_t(1) << steps, here = fine >> steps;
  return {neighbours(here, size), math::upsample_taps<S>(ratio, fine - here * ratio)};
}

// A fine pixel, given its row and its column.
template <class S>
INTERNET_HD S upsampled(const Map<S>& map, const FineAxis<S>& row, const FineAxis<S>& column) {
  auto down = [&](int64_t x) {
    return math::upsample(row.taps, map.at(row.coarse.before, x), map.at(row.coarse.here, x),
                          map.at(row.coarse.after, x));
  };
  return math::upsample(column.taps, down(column.coarse.before), down(column.coarse.here),
                        down(column.coarse.after));
}

}  // namespace internet::cuda
