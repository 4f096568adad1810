#pragma once

#include <array>

#include "math/flow_confidence.h"
#include "math_bindings/numbers.h"

namespace internet::math {

using Flow = std::array<double, 2>;

inline FlowVector<double> flow_of(const Flow& w) { return {w[0], w[1]}; }

inline void bind_flow_confidence(py::module_& m) {
  m.def("flows_cancel", [](const Flow& w, const Flow& returned, double a, double b) {
    return bool(
        flows_cancel(flow_of(w), flow_of(returned), {.consistency_scale = a, .consistency_offset = b}));
  });
  m.def("flow_is_smooth", [](const Flow& w, const Flow& right, const Flow& below, double c, double d) {
    return bool(flow_is_smooth(flow_of(w), flow_of(right), flow_of(below),
                               {.boundary_scale = c, .boundary_offset = d}));
  });
}

}  // namespace internet::math
