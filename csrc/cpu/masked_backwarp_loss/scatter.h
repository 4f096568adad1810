// The gradient of the sampled image: each sample adds to the four pixels it was interpolated from.
#pragma once

#include "cpu/masked_backwarp_loss/chunk.h"
#include "cpu/sampling/resident_rows.h"

namespace internet::cpu::INTERNET_ISA::backwarp {

// The rows of the output's gradient that are being added to, as pixels: those of a band's rows first..end-1
// that are resident. One additional row receives what belongs to other bands.
//
// A sample adds to two pairs of neighbouring pixels, with one vector each. The next sample's pairs usually
// overlap them by one pixel, and loading a vector of which half has just been stored would stall. So each row
// is kept twice: pairs that begin at an even column go to one copy, the others to its twin, and pairs in the
// same copy never overlap by half. The twins are added up when the row is done.
//
// Where the flow jumps all over the image there are no such stalls, but memory latency dominates: then there
// is a single copy, half the size.
template <class T>
class GradientRing {
  using S = opmath<T>;

 public:
  GradientRing(const BackwarpInputs<T>& in, const Strided<S, 4>& gradient) : in_(in), gradient_(gradient) {}

  // Rows first..end-1 of image b. All slots are zero until something is added.
  void start(int64_t b, int64_t first, int64_t end, const ResidentRows& resident, bool twins) {
    b_ = b, first_ = first, end_ = end, done_ = first;
    slots_ = resident.slots();
    // Two pixels of margin on the left and an odd twin distance align the pairs of both copies.
    const int64_t columns = (in_.width + 7) / 8 * 8;
    twin_ = twins ? columns + 5 : 0;
    pitch_ = twins ? 2 * twin_ : columns + 4;
    const int64_t count = (slots_ + 1) * row_size() * blocks_of(in_);
    std::fill_n(ring_.at_least(count), count, S(0));
  }
  // Stores the rows that receive nothing more from step i on.
  void advance(const ResidentRows& resident, int64_t step) { finish(resident.needed_from(step)); }
  // Stores all rows before `row`.
  void finish(int64_t row) {
    for (; done_ < row; ++done_) {
      for (int64_t block = 0; block < blocks_of(in_); ++block) {
        const auto out = image_row(gradient_, in_, b_, block, done_);
        if (done_ + 1 < end_) prefetch(below(out, gradient_.stride[2]), 0, in_.width);
        move_row(slot(block, done_ & (slots_ - 1)) + margin, out);
      }
    }
  }
  // Finds the pixels of the chunk's samples, for all blocks; expect() and add() use them.
  void locate(Chunk<S>& c, int64_t count) const {
    for (int64_t i = 0; i < count; i += native_lanes<S>) {
      const Indices<S> row = load_indices<S>(c.row + i), column = load_indices<S>(c.column + i);
      store_indices<S>(c.added.upper + i, offsets(row, column));
      store_indices<S>(c.added.lower + i, offsets(row + 1, column));
    }
  }
  INTERNET_MEMBER void expect(const Chunk<S>& c, int64_t count, int64_t block) const {
    if (!is_far<S>((slots_ + 1) * row_size())) return;
    for (int64_t i = 0; i < count; ++i) {
      __builtin_prefetch(at_offset(pixels(block), c.added.upper[i]), 1, 2);
      __builtin_prefetch(at_offset(pixels(block), c.added.lower[i]), 1, 2);
    }
  }
  // Adds the gradients of four channels of `count` samples.
  void add(Chunk<S>& c, int64_t count, int64_t block) {
    S* ring = pixels(block);
    // A pair's weights along x are 1 - f and f.
    const Pair<S> at_left = {1, 1, 1, 1, 0, 0, 0, 0}, to_right = {-1, -1, -1, -1, 1, 1, 1, 1};
    for (int64_t i = 0; i < count; i += 4) {
      Pair<S> d[4];
      for (int ch = 0; ch < 4; ++ch) {
        const Pixel<S> plane = load<4>(c.sample + ch * Chunk<S>::n + i);
        d[ch] = pair_of<S>(plane, plane);
      }
      transpose(d);
#pragma GCC unroll 4
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t j = i + k;
        if (j >= count) break;
        const Pair<S> pair = d[k] * (at_left + to_right * c.fraction_x[j]);
        const auto rows = math::share(pair, c.fraction_y[j]);
        add_pair(ring, c.added.upper[j], rows.low);
        add_pair(ring, c.added.lower[j], rows.high);
      }
    }
  }

 private:
  static constexpr int64_t margin = 2 * pixel_lanes;
  int64_t row_size() const { return pitch_ * pixel_lanes; }
  S* slot(int64_t block, int64_t slot) const {
    return ring_.data() + (block * (slots_ + 1) + slot) * row_size();
  }
  S* pixels(int64_t block) const { return slot(block, 0) + margin; }
  static void add_pair(S* ring, Index<S> offset, Pair<S> value) {
    S* p = at_offset(ring, offset);
    store<8>(p, load<8>(p) + value);
  }
  Indices<S> offsets(Indices<S> row, Indices<S> column) const {
    const Index<S> first = Index<S>(first_), end = Index<S>(end_);
    const Index<S> pitch = Index<S>(pitch_), twin = Index<S>(twin_);
    const Indices<S> others = Indices<S>{} + Index<S>(slots_);
    const auto here = (row >= first) & (row < end);
    const Indices<S> slot = here ? row & Index<S>(slots_ - 1) : others;
    return (slot * pitch + (column & 1) * twin + column) * pixel_units<S>;
  }
  // The sum of a row and its twin, if it has one. Both are zeroed.
  void move_row(S* pixels, const ImageRow<S>& out) {
    with_layout(out, [&](auto layout) {
      for (int64_t x = 0; x < out.width; x += 8, pixels += 8 * pixel_lanes) {
        Pair<S> v[4];  // the second pixel of each pair is four columns on
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i) v[i] = sum_of_twins(pixels + i * pixel_lanes);
        clear(pixels);
        clear(pixels + twin_ * pixel_lanes);
        store_eight<layout()>(out, x, v);
      }
    });
  }
  Pair<S> sum_of_twins(const S* pixel) const {
    const S* twin = pixel + twin_ * pixel_lanes;
    constexpr int64_t apart = 4 * pixel_lanes;
    const Pair<S> sum = pair_of<S>(load<4>(pixel), load<4>(pixel + apart));
    return twin_ == 0 ? sum : sum + pair_of<S>(load<4>(twin), load<4>(twin + apart));
  }
  static void clear(S* pixels) {
    for (int64_t i = 0; i < 8 * pixel_lanes; i += 2 * pixel_lanes) store<8>(pixels + i, Pair<S>{});
  }
  template <Layout layout>
  static void store_eight(const ImageRow<S>& out, int64_t x, Pair<S> (&v)[4]) {
    if (layout == Layout::planes && x + 8 <= out.width) {
      transpose(v);
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        if (c < out.channels) store<8>(out.data + x + c * out.channel_stride, v[c]);
      }
      return;
    }
    Pixel<S> left[4], right[4];
    for (int i = 0; i < 4; ++i) left[i] = left_of<S>(v[i]), right[i] = right_of<S>(v[i]);
    store_group<layout, false>(out, x, out.width - x, left);
    if (x + 4 < out.width) store_group<layout, false>(out, x + 4, out.width - x - 4, right);
  }

  const BackwarpInputs<T>& in_;
  const Strided<S, 4>& gradient_;
  int64_t twin_ = 0, pitch_ = 0, b_ = 0, first_ = 0, end_ = 0, slots_ = 1, done_ = 0;
  GrowingScratch<S> ring_;
};

}  // namespace internet::cpu::INTERNET_ISA::backwarp
