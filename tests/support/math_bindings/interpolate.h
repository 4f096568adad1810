#pragma once

#include <tuple>
#include <utility>

#include "math/interpolate.h"
#include "math_bindings/numbers.h"

namespace internet::math {

// Of `size` pixels to `fine_size`.
template <class Index>
Interpolation<Index> interpolation(int64_t size, int64_t fine_size, bool align_corners) {
  return {Index(size), Index(fine_size), align_corners};
}

inline void bind_interpolate(py::module_& m) {
  m.def("interpolation_taps", [](int64_t size, int64_t fine_size, bool align_corners, int64_t fine) {
    const auto taps = interpolation<int64_t>(size, fine_size, align_corners).taps<double>(fine);
    return std::tuple{taps.low, taps.high, taps.fraction};
  });
  m.def(
      "interpolation_taps_in_32_bits", [](int64_t size, int64_t fine_size, bool align_corners, int64_t fine) {
        const auto taps = interpolation<int32_t>(size, fine_size, align_corners).taps<double>(int32_t(fine));
        return std::tuple{taps.low, taps.high, taps.fraction};
      });
  m.def("interpolation_readers", [](int64_t size, int64_t fine_size, bool align_corners, int64_t p) {
    const auto axis = interpolation<int64_t>(size, fine_size, align_corners);
    return std::pair{axis.first_reader(p), axis.first_beyond(p)};
  });
  m.def("interpolation_weight",
        [](int64_t size, int64_t fine_size, bool align_corners, int64_t p, int64_t fine) {
          return interpolation<int64_t>(size, fine_size, align_corners).weight<double>(p, fine);
        });
  m.def("interpolate",
        [](double low, double high, double fraction) { return interpolate(low, high, fraction); });
}

}  // namespace internet::math
