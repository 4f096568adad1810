#pragma once

#include "math/bilinear.h"
#include "math_bindings/numbers.h"

namespace internet::math {

inline void bind_bilinear(py::module_& m) {
  m.def("unnormalize",
        [](double z, double size, bool align_corners) { return unnormalize(z, size, align_corners); });
  m.def("pixels_per_unit",
        [](double size, bool align_corners) { return pixels_per_unit(size, align_corners); });
  m.def("normalized_start",
        [](double size, bool align_corners) { return normalized_start(size, align_corners); });
  m.def("normalized_step",
        [](double size, bool align_corners) { return normalized_step(size, align_corners); });
  py::class_<Axis<double>>(m, "Axis")
      .def_readonly("low", &Axis<double>::low)
      .def_readonly("high", &Axis<double>::high)
      .def_readonly("low_weight", &Axis<double>::low_weight)
      .def_readonly("high_weight", &Axis<double>::high_weight)
      .def_readonly("low_slope", &Axis<double>::low_slope)
      .def_readonly("high_slope", &Axis<double>::high_slope);
  m.def("axis", [](double t, double size, bool border) { return axis(t, size, border); });
}

}  // namespace internet::math
