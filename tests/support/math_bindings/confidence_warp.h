#pragma once

#include <array>

#include "math/confidence_warp.h"
#include "math_bindings/numbers.h"

namespace internet::math {

inline void bind_confidence_warp(py::module_& m) {
  m.def("corner_weights", [](const Axis<double>& x, const Axis<double>& y) {
    Corners<double> w = corner_weights(x, y);
    return std::array{w.nw, w.ne, w.sw, w.se};
  });
  m.def("reads_image", [](const Axis<double>& x, const Axis<double>& y) { return bool(reads_image(x, y)); });
  m.def("motion_gradient", [](const Axis<double>& x, const Axis<double>& y, double confidence,
                              const std::array<double, 4>& dots, double x_scale, double y_scale) {
    Corners<double> corners{dots[0], dots[1], dots[2], dots[3]};
    MotionGradient<double> g = motion_gradient(x, y, confidence, corners, x_scale, y_scale);
    return std::array{g.x, g.y, g.confidence};
  });
}

}  // namespace internet::math
