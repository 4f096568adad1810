// Which rows of an image to keep at hand while walking rows that each touch a range of it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

#include "cpu/masked_backwarp_loss/kernels.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

// Scratch memory, aligned to cache lines; grows, forgetting what it held.
template <class S>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count) { at_least(count); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  S* at_least(int64_t count) {
    if (count > count_) {
      std::free(data_);
      data_ = static_cast<S*>(std::aligned_alloc(64, (size_t(count) * sizeof(S) + 63) / 64 * 64));
      if (data_ == nullptr) throw std::bad_alloc();
      count_ = count;
    }
    return data_;
  }
  S* data() const { return data_; }

 private:
  S* data_ = nullptr;
  int64_t count_ = 0;
};

// Which rows have to be at hand while walking rows that each touch a range. Before step i all rows below
// needed_from(i) are done with for good, and no step so far has touched a row beyond touched_to(i).
class RowWindow {
 public:
  // Ranges with first > last touch nothing.
  void plan(const RowRange* ranges, int64_t count, int32_t end) {
    int32_t* from = from_.at_least(count + 1);
    int32_t* to = to_.at_least(count + 1);
    from[count] = end;
    for (int64_t i = count - 1; i >= 0; --i) {
      bool touches = ranges[i].first <= ranges[i].last;
      from[i] = touches && ranges[i].first < from[i + 1] ? ranges[i].first : from[i + 1];
    }
    tallest_ = 1;
    for (int64_t i = 0; i < count; ++i) {
      int32_t last = i > 0 ? to[i - 1] : from[0] - 1;
      to[i] = ranges[i].first <= ranges[i].last && ranges[i].last > last ? ranges[i].last : last;
      if (to[i] - from[i] + 1 > tallest_) tallest_ = to[i] - from[i] + 1;
    }
  }
  int32_t needed_from(int64_t step) const { return from_.data()[step]; }
  int32_t touched_to(int64_t step) const { return to_.data()[step]; }
  // A power of two: the slot of row y is y & (slots() - 1).
  int64_t slots() const {
    int64_t n = 1;
    while (n < tallest_) n *= 2;
    return n;
  }

 private:
  Scratch<int32_t> from_, to_;
  int64_t tallest_ = 1;
};

}  // namespace internet::cpu::INTERNET_ISA::backwarp
