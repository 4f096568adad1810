// Which rows of an image must be resident, in a ring buffer, while walking output rows that each read a range
// of them. For a smooth field they are a few, whatever the size of the image.
#pragma once

#include <algorithm>

#include "cpu/runtime/isa.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/row_range.h"

namespace internet::cpu::INTERNET_ISA {

// Before step i of the walk, no row before needed_from(i) is read any more, and none after touched_to(i) has
// been.
class ResidentRows {
 public:
  // Step i reads ranges[i], of which only rows begin..end-1 count.
  [[gnu::noinline]] void plan(const RowRange* ranges, int64_t count, int32_t begin, int32_t end) {
    int32_t* from = from_.at_least(count + 1);
    int32_t* to = to_.at_least(count + 1);
    from[count] = end;
    for (int64_t i = count - 1; i >= 0; --i) {
      const RowRange r = clipped(ranges[i], begin, end);
      from[i] = r.first <= r.last ? std::min(r.first, from[i + 1]) : from[i + 1];
    }
    tallest_ = 1;
    int32_t last = from[0] - 1;
    for (int64_t i = 0; i < count; ++i) {
      const RowRange r = clipped(ranges[i], begin, end);
      if (r.first <= r.last) last = std::max(last, r.last);
      to[i] = last;
      tallest_ = std::max<int64_t>(tallest_, to[i] - from[i] + 1);
    }
  }
  int32_t needed_from(int64_t step) const { return from_[step]; }
  int32_t touched_to(int64_t step) const { return to_[step]; }
  // The most rows between the two at any step, at least 1.
  int64_t tallest() const { return tallest_; }
  // As many or more, a power of two: the slot of row y is then y & (slots() - 1).
  int64_t slots() const {
    int64_t n = 1;
    while (n < tallest_) n *= 2;
    return n;
  }

 private:
  static RowRange clipped(RowRange r, int32_t begin, int32_t end) {
    return {std::max(r.first, begin), std::min(r.last, end - 1)};
  }

  GrowingScratch<int32_t> from_, to_;
  int64_t tallest_ = 1;
};

}  // namespace internet::cpu::INTERNET_ISA
