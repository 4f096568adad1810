// The range of source rows that an output row reads, both ends included; first > last: none.
#pragma once

#include <cstdint>

namespace internet::cpu {

struct RowRange {
  int32_t first, last;
};

}  // namespace internet::cpu
