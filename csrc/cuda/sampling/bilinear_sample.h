// A bilinear sample as kernels pass it from where it is computed, once, to where channels are read.
#pragma once

#include <cstdint>

#include "math/confidence_warp.h"

namespace internet::cuda {

// The pixel to the north-west, and whether the pixels to the east and to the south differ from it. If they
// would lie outside the image, they are replaced by the pixel itself.
template <class S>
struct alignas(16) BilinearSample {
  math::Corners<S> weights;
  int row, column;
  bool east, south;
  bool reads;  // whether it reads the image at all; the pixel is inside the image even if not
};

template <class S>
INTERNET_HD bool two_pixels(math::Axis<S>& axis) {
  if (axis.high > axis.low) return true;
  axis.low_weight += axis.high_weight;
  axis.high_weight = 0;
  return false;
}

template <class S>
INTERNET_HD BilinearSample<S> bilinear_sample(math::Axis<S> x, math::Axis<S> y, S factor, bool reads) {
  BilinearSample<S> s;
  s.row = int(y.low);
  s.column = int(x.low);
  s.reads = reads;
  s.east = two_pixels(x);
  s.south = two_pixels(y);
  y.low_weight *= factor;
  y.high_weight *= factor;
  s.weights = math::corner_weights(x, y);
  return s;
}

// The offsets of the four pixels in an image.
template <class Index>
struct Footprint {
  Index nw, east, south;  // of the first pixel, and from there to the others

  INTERNET_MEMBER math::Corners<Index> corners() const {
    return {nw, nw + east, nw + south, nw + south + east};
  }
};
template <class Index = int64_t, class S>
INTERNET_HD Footprint<Index> footprint(const BilinearSample<S>& s, const int64_t* image_stride) {
  const auto row_stride = Index(image_stride[2]), column_stride = Index(image_stride[3]);
  return {s.row * row_stride + s.column * column_stride, s.east ? column_stride : 0,
          s.south ? row_stride : 0};
}

}  // namespace internet::cuda
