// From the coarse maps of a motion to the sample of one output pixel.
#pragma once

#include "cuda/confidence_warp/kernels.h"
#include "cuda/sampling/bilinear_sample.h"
#include "cuda/sampling/maps.h"

namespace internet::cuda {

// Where an output pixel samples the features, in their pixels, and its confidence.
template <class S>
struct PixelMotion {
  S x, y, confidence;
};

// Kernels have two variants. The plain one takes fewer registers: progressive steps bring field and
// confidence, of one size, to the size of the features, and there is no blend. The other one is general.
template <class S>
bool is_plain(const SampledMotion<S>& m) {
  const MapResize &field = m.field_resize, &confidence = m.confidence_resize;
  return !field.interpolates && !confidence.interpolates && field.steps == confidence.steps;
}

template <class S>
INTERNET_HD S confidence_at(const SampledMotion<S>& m, int64_t image, int64_t row, int64_t column) {
  if (m.confidence.data == nullptr) return 1;
  return resized(confidence_map(m.confidence, image), m.confidence_resize, row, column);
}

template <bool plain, class S>
INTERNET_HD PixelMotion<S> motion_at(const SampledMotion<S>& m, int64_t image, int64_t row, int64_t column) {
  PixelMotion<S> motion;
  if constexpr (plain) {
    const MapResize& resize = m.field_resize;
    const auto rows = fine_axis<S>(row, resize.steps, resize.height);
    const auto columns = fine_axis<S>(column, resize.steps, resize.width);
    auto value = [&](const Map<S>& map) {
      return resize.steps == 0 ? map.at(row, column) : upsampled(map, rows, columns);
    };
    motion.x = value(field_map(m.field, image, 0));
    motion.y = value(field_map(m.field, image, 1));
    motion.confidence = m.confidence.data == nullptr ? S(1) : value(confidence_map(m.confidence, image));
  } else {
    motion.x = resized(field_map(m.field, image, 0), m.field_resize, row, column);
    motion.y = resized(field_map(m.field, image, 1), m.field_resize, row, column);
    motion.confidence = confidence_at(m, image, row, column);
  }
  motion.x = math::unnormalize(motion.x, S(m.width), m.align_corners);
  motion.y = math::unnormalize(motion.y, S(m.height), m.align_corners);
  return motion;
}

template <class S>
INTERNET_HD BilinearSample<S> sample_of(const SampledMotion<S>& m, const PixelMotion<S>& motion) {
  const auto x = math::axis(motion.x, S(m.width), m.border), y = math::axis(motion.y, S(m.height), m.border);
  return bilinear_sample(x, y, motion.confidence, math::reads_image(x, y));
}

}  // namespace internet::cuda
