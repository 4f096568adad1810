// The image that the masked back-warping loss samples: the rows at hand, and bilinear samples of them.
#pragma once

#include "masked_backwarp_loss_chunk.h"
#include "row_window.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

// Samples up to four channels of `count` columns, with the derivatives by the coordinate if asked for: down
// the columns pair by pair, and across once they are planes.
template <bool with_slopes, class S>
inline void sample_columns(Chunk<S>& c, int64_t count, int channels, S* ring) {
  constexpr int n = Chunk<S>::n;
  for (int64_t i = 0; i < count; i += 4) {
    Pair<S> level[4], step[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Pair<S> top = load<8>(at_offset(ring, c.read.upper[i + k]));
      const Pair<S> bottom = load<8>(at_offset(ring, c.read.lower[i + k]));
      const auto column = math::interpolate_down(top, bottom, c.fraction_y[i + k]);
      level[k] = column.level, step[k] = column.step;
    }
    transpose_pairs<S>(level);
    if constexpr (with_slopes) transpose_pairs<S>(step);
    const Pixel<S> fraction_x = load<4>(c.fraction_x + i);
#pragma GCC unroll 4
    for (int ch = 0; ch < 4; ++ch) {
      if (ch >= channels) break;
      using Side = math::Column<Pixel<S>>;
      const auto s =
          math::interpolate_across(Side{left_of<S>(level[ch]), left_of<S>(step[ch])},
                                   Side{right_of<S>(level[ch]), right_of<S>(step[ch])}, fraction_x);
      store<4>(c.value + ch * n + i, s.value);
      if constexpr (with_slopes) {
        store<4>(c.slope_x + ch * n + i, s.slope_x);
        store<4>(c.slope_y + ch * n + i, s.slope_y);
      }
    }
  }
}

// The rows of the output image at hand, as pixels, with zeros around the image: a ring, or all of them where
// the flow jumps all over the image.
template <class T>
class SourceRing {
  using S = opmath<T>;

 public:
  // One pixel of margin before the first, at least one after the last.
  explicit SourceRing(const BackwarpInputs<T>& in) : in_(in), pitch_((in.width + 3) / 4 * 4 + 4) {}

  void start(int64_t b, const RowWindow& window) {
    b_ = b;
    next_ = window.needed_from(0);
    const int64_t all = in_.height + 2;  // one above the first and one below the last
    slots_ = std::min(window.slots(), all);
    slot_mask_ = slots_ == all ? -1 : slots_ - 1;
    ring_.at_least(slots_ * blocks_of(in_) * pitch_ * pixel_lanes);
  }
  // Before step i of the walk that `window` was planned for.
  void advance(const RowWindow& window, int64_t step) {
    if (next_ < window.needed_from(step)) next_ = window.needed_from(step);
    for (; next_ <= window.touched_to(step); ++next_) {
      for (int64_t block = 0; block < blocks_of(in_); ++block) fill(block, next_);
    }
  }
  // Finds the pixels of the chunk's samples, for all blocks; expect() and sample() use them.
  void locate(Chunk<S>& c, int64_t count) const {
    const Index<S> slot_mask = Index<S>(slot_mask_), pitch = Index<S>(pitch_);
    for (int64_t i = 0; i < count; i += native_lanes<S>) {
      const Indices<S> row = load_indices<S>(c.row + i), column = load_indices<S>(c.column + i);
      store_indices<S>(c.read.upper + i, ((row & slot_mask) * pitch + column) * pixel_units<S>);
      store_indices<S>(c.read.lower + i, (((row + 1) & slot_mask) * pitch + column) * pixel_units<S>);
    }
  }
  INTERNET_MEMBER void expect(const Chunk<S>& c, int64_t count, int64_t block) const {
    prefetch_pairs<false>(pixels(block), slots_ * pitch_ * pixel_lanes, c.read, count);
  }
  template <bool with_slopes>
  void sample(Chunk<S>& c, int64_t count, int64_t block) const {
    const int channels = image_row(in_.output, in_, b_, block, 0).channels;
    sample_columns<with_slopes>(c, count, channels, pixels(block));
  }

 private:
  static constexpr int64_t margin = pixel_lanes;
  S* row(int64_t block, int64_t y) const {
    const int64_t first = slot_mask_ < 0 ? 1 : 0;  // row -1 is there as well
    return ring_.data() + (block * slots_ + first + (y & slot_mask_)) * pitch_ * pixel_lanes;
  }
  S* pixels(int64_t block) const { return row(block, 0) + margin; }
  void fill(int64_t block, int64_t y) {
    S* pixels = row(block, y);
    const Pixel<S> zero = {};
    if (y < 0 || y >= in_.height) {
      for (int64_t x = 0; x < pitch_; ++x) store<4>(pixels + 4 * x, zero);
      return;
    }
    store<4>(pixels, zero);
    if (y + 1 < in_.height) prefetch(image_row(in_.output, in_, b_, block, y + 1), 0, in_.width);
    read_pixels(image_row(in_.output, in_, b_, block, y), pixels + margin);
    store<4>(pixels + margin + 4 * in_.width, zero);
  }

  const BackwarpInputs<T>& in_;
  int64_t pitch_, b_ = 0, slots_ = 1, slot_mask_ = 0, next_ = 0;
  Scratch<S> ring_;
};

}  // namespace internet::cpu::INTERNET_ISA::backwarp
