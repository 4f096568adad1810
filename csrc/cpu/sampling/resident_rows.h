// Which rows of an image must be resident, in a ring buffer, while output rows are walked that each read a
// range of them. For a smooth field these are few, whatever the size of the image.
#pragma once

#include <algorithm>

#include "cpu/runtime/isa.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/row_range.h"

namespace internet::cpu::INTERNET_ISA {

// From step i of the walk on, no row before needed_from(i) is read any more, and until step i no row after
// touched_to(i) has been.
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
  // The largest number of rows between the two at any step, at least 1.
  int64_t tallest() const { return tallest_; }
  // At least as many, rounded up to a power of two: the slot of row y is then y & (slots() - 1).
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
