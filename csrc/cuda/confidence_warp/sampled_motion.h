// From the coarse maps of a motion to the sample of one output pixel.
#pragma once

#include "cuda/confidence_warp/kernels.h"
#include "cuda/sampling/bilinear_sample.h"
#include "cuda/sampling/maps.h"

namespace internet::cuda {

// Where an output pixel samples the features, in pixels of theirs, and its confidence.
template <class S>
struct PixelMotion {
  S x, y, confidence;
};

template <class S>
INTERNET_HD PixelMotion<S> motion_at(const SampledMotion<S>& m, int64_t image, int64_t row, int64_t column) {
  const auto rows = fine_axis<S>(row, m.steps, m.height >> m.steps);
  const auto columns = fine_axis<S>(column, m.steps, m.width >> m.steps);
  auto value = [&](const Map<S>& map) {
    return m.steps == 0 ? map.at(row, column) : upsampled(map, rows, columns);
  };
  PixelMotion<S> motion;
  motion.x = math::unnormalize(value(field_map(m.field, image, 0)), S(m.width), m.align_corners);
  motion.y = math::unnormalize(value(field_map(m.field, image, 1)), S(m.height), m.align_corners);
  motion.confidence = m.confidence.data == nullptr ? S(1) : value(confidence_map(m.confidence, image));
  return motion;
}

template <class S>
INTERNET_HD BilinearSample<S> sample_of(const SampledMotion<S>& m, const PixelMotion<S>& motion) {
  const auto x = math::axis(motion.x, S(m.width), m.border), y = math::axis(motion.y, S(m.height), m.border);
  return bilinear_sample(x, y, motion.confidence, math::reads_image(x, y));
}

}  // namespace internet::cuda
