// How a coarse map of a motion is resized to the features.
#pragma once

#include <cstdint>

#include "math/interpolate.h"

namespace internet {

// By progressive 2x steps or by one interpolation.
struct MapResize {
  int64_t height, width;            // of the coarse map
  int64_t fine_height, fine_width;  // of the features
  int steps;                        // 0 if it interpolates
  bool interpolates = false, interpolation_aligns_corners = false;

  INTERNET_MEMBER int64_t ratio() const { return int64_t(1) << steps; }
  template <class Index = int64_t>
  INTERNET_MEMBER math::Interpolation<Index> rows() const {
    return {Index(height), Index(fine_height), interpolation_aligns_corners};
  }
  template <class Index = int64_t>
  INTERNET_MEMBER math::Interpolation<Index> columns() const {
    return {Index(width), Index(fine_width), interpolation_aligns_corners};
  }
  // Whether 32 bits suffice for both.
  INTERNET_MEMBER bool fits_32_bits() const {
    constexpr int64_t most = int64_t(1) << 30;
    return (fine_height + 1) * (height + 1) < most && (fine_width + 1) * (width + 1) < most;
  }
};

}  // namespace internet
