// The image that the masked back-warping loss samples: its resident rows, and bilinear samples of them.
#pragma once

#include "cpu/masked_backwarp_loss/chunk.h"
#include "cpu/sampling/resident_rows.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

// The two sides of a group of samples, in planes: the values of their pairs, or the differences between them.
template <class S>
INTERNET_HD Pixel<S> left_side(const Pair<S> (&v)[1]) {
  return left_of<S>(v[0]);
}
template <class S>
INTERNET_HD Pixel<S> right_side(const Pair<S> (&v)[1]) {
  return right_of<S>(v[0]);
}
template <class S>
INTERNET_HD Pair<S> left_side(const Pair<S> (&v)[2]) {
  return __builtin_shufflevector(v[0], v[1], 0, 1, 2, 3, 8, 9, 10, 11);
}
template <class S>
INTERNET_HD Pair<S> right_side(const Pair<S> (&v)[2]) {
  return __builtin_shufflevector(v[0], v[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// Samples up to four channels of `count` columns, with the derivatives with respect to the coordinates if
// wanted: first along y, pair by pair; then along x, in planes, eight samples at a time if a vector has eight
// lanes. The ring's rows are `row_size` values apart.
template <bool with_slopes, class S>
inline void sample_columns(Chunk<S>& c, int64_t count, int channels, S* ring, int64_t row_size) {
  constexpr int n = Chunk<S>::n, fours = native_lanes<S> >= 8 ? 2 : 1, lanes = 4 * fours;
  for (int64_t i = 0; i < count; i += lanes) {
    Pair<S> level[4][fours], step[4][fours];
#pragma GCC unroll 2
    for (int f = 0; f < fours; ++f) {
      Pair<S> levels[4], steps[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const int64_t j = i + 4 * f + k;
        const S* top = at_offset(ring, c.read[j]);
        const auto column = math::interpolate_down(load<8>(top), load<8>(top + row_size), c.fraction_y[j]);
        levels[k] = column.level, steps[k] = column.step;
      }
      transpose(levels);
      if constexpr (with_slopes) transpose(steps);
#pragma GCC unroll 4
      for (int ch = 0; ch < 4; ++ch) level[ch][f] = levels[ch], step[ch][f] = steps[ch];
    }
    const auto fraction_x = load<lanes>(c.fraction_x + i);
#pragma GCC unroll 4
    for (int ch = 0; ch < 4; ++ch) {
      if (ch >= channels) break;
      using Side = math::Column<Vec<S, lanes>>;
      const auto s =
          math::interpolate_across(Side{left_side<S>(level[ch]), left_side<S>(step[ch])},
                                   Side{right_side<S>(level[ch]), right_side<S>(step[ch])}, fraction_x);
      store<lanes>(c.value + ch * n + i, s.value);
      if constexpr (with_slopes) {
        store<lanes>(c.slope_x + ch * n + i, s.slope_x);
        store<lanes>(c.slope_y + ch * n + i, s.slope_y);
      }
    }
  }
}

// Converts the first columns of a row from planes to pixels, eight at a time, if a vector has eight lanes.
// Returns how many.
template <class T, class S>
inline int64_t read_eights(const ImageRow<const T>& row, S* pixels) {
  if (native_lanes<S> < 8 || row.column_stride != 1) return 0;
  for (int64_t x = 0; x + 8 <= row.width; x += 8, pixels += 8 * pixel_lanes) {
    Pair<S> v[4];  // the second pixel of each pair is four columns on
    for (int c = 0; c < 4; ++c)
      v[c] = load<8>(row.data + x + (c < row.channels ? c : 0) * row.channel_stride);
    transpose(v);
    for (int k = 0; k < 2; ++k) {
      const Pair<S> pairs[] = {v[2 * k], v[2 * k + 1]};
      store<8>(pixels + 2 * k * pixel_lanes, left_side<S>(pairs));
      store<8>(pixels + (2 * k + 4) * pixel_lanes, right_side<S>(pairs));
    }
  }
  return row.width / 8 * 8;
}

// The resident rows of the output image, as pixels, with zeros around the image: a ring, or all rows if the
// flow jumps all over the image. The first row is repeated after the last, so that the next row always lies
// below.
template <class T>
class SourceRing {
  using S = opmath<T>;

 public:
  // One pixel of margin before the first, at least one after the last.
  explicit SourceRing(const BackwarpInputs<T>& in) : in_(in), pitch_((in.width + 3) / 4 * 4 + 4) {}

  void start(int64_t b, const ResidentRows& resident) {
    b_ = b;
    next_ = resident.needed_from(0);
    const int64_t all = in_.height + 2;  // one above the first and one below the last
    slots_ = std::min(resident.slots(), all);
    slot_mask_ = slots_ == all ? -1 : slots_ - 1;
    ring_.at_least((slots_ + 1) * blocks_of(in_) * row_size());
  }
  // Prepares for step i of the walk that `resident` was planned for.
  void advance(const ResidentRows& resident, int64_t step) {
    if (next_ < resident.needed_from(step)) next_ = resident.needed_from(step);
    for (; next_ <= resident.touched_to(step); ++next_) {
      for (int64_t block = 0; block < blocks_of(in_); ++block) fill(block, next_);
    }
  }
  // Finds the pixels of the chunk's samples, for all blocks; expect() and sample() use them.
  void locate(Chunk<S>& c, int64_t count) const {
    const Index<S> slot_mask = Index<S>(slot_mask_), pitch = Index<S>(pitch_);
    for (int64_t i = 0; i < count; i += native_lanes<S>) {
      const Indices<S> row = load_indices<S>(c.row + i), column = load_indices<S>(c.column + i);
      store_indices<S>(c.read + i, ((row & slot_mask) * pitch + column) * pixel_units<S>);
    }
  }
  INTERNET_MEMBER void expect(const Chunk<S>& c, int64_t count, int64_t block) const {
    if (!is_far<S>(slots_ * row_size())) return;
    for (int64_t i = 0; i < count; ++i) {
      const S* upper = at_offset(pixels(block), c.read[i]);
      __builtin_prefetch(upper, 0, 2);
      __builtin_prefetch(upper + row_size(), 0, 2);
    }
  }
  template <bool with_slopes>
  void sample(Chunk<S>& c, int64_t count, int64_t block) const {
    const int channels = image_row(in_.output, in_, b_, block, 0).channels;
    sample_columns<with_slopes>(c, count, channels, pixels(block), row_size());
  }

 private:
  static constexpr int64_t margin = pixel_lanes;
  int64_t row_size() const { return pitch_ * pixel_lanes; }
  S* row(int64_t block, int64_t y) const {
    const int64_t first = slot_mask_ < 0 ? 1 : 0;  // row -1 is stored as well
    return ring_.data() + (block * (slots_ + 1) + first + (y & slot_mask_)) * row_size();
  }
  S* pixels(int64_t block) const { return row(block, 0) + margin; }
  void fill(int64_t block, int64_t y) {
    S* pixels = row(block, y);
    if (y < 0 || y >= in_.height) {
      std::fill_n(pixels, row_size(), S(0));
    } else {
      const auto image = image_row(in_.output, in_, b_, block, y);
      if (y + 1 < in_.height) prefetch(below(image, in_.output.stride[2]), 0, in_.width);
      read_row(image, pixels);
    }
    const bool is_first = slot_mask_ >= 0 && (y & slot_mask_) == 0;
    if (is_first) std::copy_n(pixels, row_size(), pixels + slots_ * row_size());
  }
  static void read_row(ImageRow<const T> image, S* pixels) {
    const Pixel<S> zero = {};
    store<4>(pixels, zero);
    const int64_t done = read_eights(image, pixels + margin);
    image.data += done * image.column_stride, image.width -= done;
    read_pixels(image, pixels + margin + done * pixel_lanes);
    store<4>(pixels + margin + (done + image.width) * pixel_lanes, zero);
  }

  const BackwarpInputs<T>& in_;
  int64_t pitch_, b_ = 0, slots_ = 1, slot_mask_ = 0, next_ = 0;
  GrowingScratch<S> ring_;
};

}  // namespace internet::cpu::INTERNET_ISA::backwarp
