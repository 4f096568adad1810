#pragma once

#include <array>

#include "math/upsample_motion.h"
#include "math_bindings/numbers.h"

namespace internet::math {

inline void bind_upsample_motion(py::module_& m) {
  m.def("upsample_taps", [](int64_t ratio, int64_t phase) {
    UpsampleTaps<double> taps = upsample_taps<double>(ratio, phase);
    return std::array{taps.before, taps.here, taps.after};
  });
  m.def("upsample", [](int64_t ratio, int64_t phase, double before, double here, double after) {
    return upsample(upsample_taps<double>(ratio, phase), before, here, after);
  });
  m.def("upsample_weight", &upsample_weight<double>);
  m.def("fold_taps", [](int64_t ratio, int64_t phase, int64_t p, int64_t size) {
    UpsampleTaps<double> taps = fold_taps(upsample_taps<double>(ratio, phase), p, size);
    return std::array{taps.before, taps.here, taps.after};
  });
}

}  // namespace internet::math
