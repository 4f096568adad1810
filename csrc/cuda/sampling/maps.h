// Maps of the motion as kernels read them: a pixel of a map, and a pixel of the upsampled map.
#pragma once

#include "arguments/map_resize.h"
#include "arguments/strided.h"
#include "math/upsample_motion.h"

namespace internet::cuda {

// One channel of one image. Index counts its elements.
template <class S, class Index = int64_t>
struct Map {
  const S* data;
  Index row_stride, column_stride;

  INTERNET_MEMBER S at(Index row, Index column) const {
    return data[row * row_stride + column * column_stride];
  }
};

template <class Index = int64_t, class S>
INTERNET_HD Map<S, Index> field_map(const Strided<const S, 4>& field, int64_t image, int coordinate) {
  return {field.data + image * field.stride[0] + coordinate * field.stride[3], Index(field.stride[1]),
          Index(field.stride[2])};
}
template <class Index = int64_t, class S>
INTERNET_HD Map<S, Index> confidence_map(const Strided<const S, 4>& confidence, int64_t image) {
  return {confidence.data + image * confidence.stride[0], Index(confidence.stride[2]),
          Index(confidence.stride[3])};
}

// Along one axis: the pixel before, the pixel itself and the one after; the border is repeated.
template <class Index>
struct Neighbours {
  Index before, here, after;
};
template <class Index>
INTERNET_HD Neighbours<Index> neighbours(Index here, Index size) {
  return {here > 0 ? here - 1 : 0, here, here + 1 < size ? here + 1 : here};
}

// Along one axis of a map after `steps` progressive 2x steps: what fine pixel `fine` reads of the `size`
// coarse ones.
template <class S, class Index>
struct FineAxis {
  Neighbours<Index> coarse;
  math::UpsampleTaps<S> taps;
};
template <class S, class Index>
INTERNET_HD FineAxis<S, Index> fine_axis(Index fine, int steps, Index size) {
  const Index ratio = Index(1) << steps, here = fine >> steps;
  return {neighbours(here, size), math::upsample_taps<S>(ratio, fine - here * ratio)};
}

// A fine pixel, given what it reads along the rows and the columns.
template <class S, class Index>
INTERNET_HD S upsampled(const Map<S, Index>& map, const FineAxis<S, Index>& row,
                        const FineAxis<S, Index>& column) {
  auto down = [&](Index x) {
    return math::upsample(row.taps, map.at(row.coarse.before, x), map.at(row.coarse.here, x),
                          map.at(row.coarse.after, x));
  };
  return math::upsample(column.taps, down(column.coarse.before), down(column.coarse.here),
                        down(column.coarse.after));
}

template <class Index, class S>
INTERNET_HD S interpolated(const Map<S>& map, const MapResize& resize, int64_t row, int64_t column) {
  const auto rows = resize.rows<Index>().template taps<S>(Index(row));
  const auto columns = resize.columns<Index>().template taps<S>(Index(column));
  auto across = [&](Index y) {
    return math::interpolate(map.at(y, columns.low), map.at(y, columns.high), columns.fraction);
  };
  return math::interpolate(across(rows.low), across(rows.high), rows.fraction);
}

// A fine pixel, for either way of resizing the map.
template <class S>
INTERNET_HD S resized(const Map<S>& map, const MapResize& resize, int64_t row, int64_t column) {
  if (resize.interpolates) {
    return resize.fits_32_bits() ? interpolated<int32_t>(map, resize, row, column)
                                 : interpolated<int64_t>(map, resize, row, column);
  }
  if (resize.steps == 0) return map.at(row, column);
  return upsampled(map, fine_axis<S>(row, resize.steps, resize.height),
                   fine_axis<S>(column, resize.steps, resize.width));
}

}  // namespace internet::cuda
