// How the work of sampling images is divided into tasks, given the rows that each output row reads.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/sampling/row_range.h"
#include "torch_stable.h"

namespace internet::cpu {

// Enough tasks for many threads. The tasks do not depend on the number of threads.
constexpr int64_t wanted_tasks = 16;
// The limit on concurrent tasks that may each keep most of an image's rows resident, and the least number of
// such tasks.
constexpr int64_t most_at_once = 4;

// How far apart the source rows are that an output row reads.
class Reach {
 public:
  Reach(const std::vector<RowRange>& ranges, int64_t height) : height_(height) {
    for (const RowRange& range : ranges) mean_ += range.last - range.first + 1;
    mean_ /= int64_t(ranges.size());
  }
  // How many bands of rows, with `tasks` tasks each. Rows at the edges of bands are processed twice, so bands
  // are much taller than these overlaps (in place, only finding the samples is repeated).
  int64_t bands(int64_t tasks, bool in_place) const {
    const int64_t least_rows = std::max<int64_t>(16, in_place ? mean_ / 4 : 4 * mean_);
    const int64_t wanted = (wanted_tasks + tasks - 1) / tasks, allowed = height_ / least_rows;
    return std::max<int64_t>(std::min(wanted, allowed), 1);
  }
  // Gradients of pixels are accumulated in float: as many channels at a time as let the resident rows fit in
  // a cache.
  int64_t resident_channels(int64_t width) const {
    return (12 << 20) / int64_t(sizeof(float)) / (mean_ * width);
  }
  // Whether the field jumps all over the image.
  bool jumps() const { return mean_ > 16 && 4 * mean_ > height_; }
  // If so, every task keeps most of an image's rows resident, and few run at once.
  int64_t grain(int64_t tasks, int64_t least) const {
    return 4 * mean_ > height_ ? std::max(least, (tasks + most_at_once - 1) / most_at_once) : least;
  }

 private:
  int64_t height_, mean_ = 0;
};

// Whether the channels of a pixel are neighbours in memory.
inline bool channels_side_by_side(const Tensor& image) { return image.size(1) == 1 || image.stride(1) == 1; }

}  // namespace internet::cpu
