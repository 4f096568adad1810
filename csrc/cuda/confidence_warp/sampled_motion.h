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
INTERNET_HD S confidence_at(const SampledMotion<S>& m, int64_t image, int64_t row, int64_t column) {
  if (m.confidence.data == nullptr) return 1;
  return resized(confidence_map(m.confidence, image), m.confidence_resize, row, column);
}

template <class S>
INTERNET_HD PixelMotion<S> motion_at(const SampledMotion<S>& m, int64_t image, int64_t row, int64_t column) {
  const S x = resized(field_map(m.field, image, 0), m.field_resize, row, column);
  const S y = resized(field_map(m.field, image, 1), m.field_resize, row, column);
  PixelMotion<S> motion;
  motion.x = math::unnormalize(x, S(m.width), m.align_corners);
  motion.y = math::unnormalize(y, S(m.height), m.align_corners);
  motion.confidence = confidence_at(m, image, row, column);
  return motion;
}

template <class S>
INTERNET_HD BilinearSample<S> sample_of(const SampledMotion<S>& m, const PixelMotion<S>& motion) {
  const auto x = math::axis(motion.x, S(m.width), m.border), y = math::axis(motion.y, S(m.height), m.border);
  return bilinear_sample(x, y, motion.confidence, math::reads_image(x, y));
}

}  // namespace internet::cuda
