#pragma once

#include <array>

#include "math/confidence_warp.h"
#include "math_bindings/numbers.h"

namespace internet::math {

// The eight pixels around a sample in a volume: the last axis changes slowest.
using Axes = std::array<Axis<double>, 3>;
using Eight = std::array<double, 8>;

inline Corners<double, 3> corners_of(const Eight& v) {
  return {{v[0], v[1], v[2], v[3]}, {v[4], v[5], v[6], v[7]}};
}

inline void bind_volume_warp(py::module_& m) {
  m.def("corner_weights_3d", [](const Axes& axes) {
    const Corners<double, 3> w = corner_weights<3>(axes.data());
    return Eight{w.low.nw, w.low.ne, w.low.sw, w.low.se, w.high.nw, w.high.ne, w.high.sw, w.high.se};
  });
  m.def("weighted_sum_3d", [](const Eight& weights, const Eight& values) {
    Corners<double, 3> sums{};
    add_scaled(sums, 0.5, corners_of(values));
    add_scaled(sums, 0.5, corners_of(values));
    return weighted_sum(corners_of(weights), sums);
  });
  m.def("blend_3d",
        [](const Axes& axes, const Eight& values) { return blend(corners_of(values), axes.data()); });
  m.def("reads_image_3d", [](const Axes& axes) { return bool(reads_image<3>(axes.data())); });
  m.def("motion_gradient_3d",
        [](const Axes& axes, double confidence, const Eight& dots, const std::array<double, 3>& scales) {
          std::array<double, 4> g;
          g[3] = motion_gradient(axes.data(), confidence, corners_of(dots), scales.data(), g.data());
          return g;
        });
}

}  // namespace internet::math
