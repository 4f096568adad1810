#pragma once

#include <array>
#include <string>

#include "math/masked_backwarp_loss.h"
#include "math_bindings/numbers.h"

namespace internet::math {

template <Penalty P>
inline void bind_penalty(py::module_& m, const std::string& name) {
  m.def(("penalty_" + name).c_str(), [](double r) { return penalty<P>(r); });
  m.def(("penalty_slope_" + name).c_str(), [](double r) { return penalty_slope<P>(r); });
  m.def(("residual_gradient_" + name).c_str(), [](double difference, double mask, double grad) {
    ResidualGradient<double> g = residual_gradient<P>(difference, mask, grad);
    return std::array{g.sample, g.mask};
  });
}

inline void bind_masked_backwarp_loss(py::module_& m) {
  bind_penalty<Penalty::l1>(m, "l1");
  bind_penalty<Penalty::l2>(m, "l2");
  bind_penalty<Penalty::charbonnier>(m, "charbonnier");
  m.def("position", [](double t, double size, bool border) {
    Position<double> p = position(t, size, border);
    return std::array{p.base, p.fraction};
  });
  m.def("moves_within", [](double t, double size) { return bool(moves_within(t, size)); });
  m.def("inside_frame", [](double t, double size, bool valid) { return bool(inside_frame(t, size, valid)); });
  m.def("share", [](double gradient, double fraction) {
    Shares<double> s = share(gradient, fraction);
    return std::array{s.low, s.high};
  });
  // pixels: top left, top right, bottom left, bottom right
  m.def("interpolate", [](const std::array<double, 4>& pixels, double fraction_x, double fraction_y) {
    Column<double> left = interpolate_down(pixels[0], pixels[2], fraction_y);
    Column<double> right = interpolate_down(pixels[1], pixels[3], fraction_y);
    Sample<double> s = interpolate_across(left, right, fraction_x);
    return std::array{s.value, s.slope_x, s.slope_y};
  });
}

}  // namespace internet::math
