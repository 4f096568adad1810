// The source rows that one output row reads, both included; first > last: none.
#pragma once

#include <cstdint>

namespace internet::cpu {

struct RowRange {
  int32_t first, last;
};

}  // namespace internet::cpu
