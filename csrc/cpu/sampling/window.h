// Bilinear samples of planes where they lie in memory, for a few neighbouring output pixels at a time.
//
// If the field is smooth, all that these pixels read lies in a *window*: some rows, and as many columns as a
// register has lanes. A load fetches a row of the window from a plane, and a permutation moves its pixels to
// the lanes that read them. A sample has two lanes, one for each of its columns, in the lower and the upper
// half of a register; their sum is the sample.
//
// Of a sample's two rows one is even and one is odd, counted from the top of the window. So each lane needs
// one register for all even rows and one for all odd rows, and two weights. It never sees a pixel that its
// sample does not read.
#pragma once

#include <limits>

#include "cpu/sampling/bilinear_row.h"
#include "cpu/simd/permute.h"

namespace internet::cpu::INTERNET_ISA {

// Rows of a plane whose neighbouring columns are neighbours in memory.
struct PlaneRows {
  int64_t height, width, stride;
};

template <class S>
class Window {
 public:
  static constexpr int lanes = permuted_lanes<S>, pixels = lanes / 2;
  using V = Vec<S, lanes>;

  // Finds the window of the samples x..x + pixels - 1. Planes are at least `lanes` wide, and their offsets
  // fit in an int.
  void cover(const Samples<S>& s, int64_t x, const PlaneRows& plane) {
    const I column = in_halves(s.x_low + x, s.x_high + x);
    const I low = in_halves(s.y_low + x, s.y_low + x), high = in_halves(s.y_high + x, s.y_high + x);
    const V low_weight = in_halves(s.nw + x, s.ne + x), high_weight = in_halves(s.sw + x, s.se + x);
    reads_ = in_halves(s.reads + x, s.reads + x) != 0;
    // Beyond the first and the last row of a plane, a sample's two rows are the same. Here they are
    // neighbours, of which one lies outside; its offset is that of the row it repeats.
    const I first = low + (high == 0);
    const auto [top, last] = extent(first);
    const auto [west, east] = extent(column);
    const int start = std::min(west, int(plane.width) - lanes);
    rows_ = last - top + 2;
    if (rows_ > most_rows || east - start >= lanes) {
      rows_ = 0;
      even_ = low * int(plane.stride) + column, odd_ = high * int(plane.stride) + column;
      even_weight_ = low_weight, odd_weight_ = high_weight;
      return;
    }
    for (int i = 0; i < rows_; ++i) {
      offsets_[i] = int32_t(std::clamp<int64_t>(top + i, 0, plane.height - 1) * plane.stride + start);
    }
    index_ = column - start;
    const I row = first - top, starts_odd = (row & 1) != 0;
    even_ = row + (row & 1), odd_ = row | 1;
    even_weight_ = math::select(starts_odd, high_weight, low_weight);
    odd_weight_ = math::select(starts_odd, low_weight, high_weight);
  }

  // Whether there is one. If not, the pixels are sampled one by one.
  bool fits() const { return rows_ > 0; }

  // The samples of C planes, as two halves to be added up.
  template <int C, class T>
  INTERNET_MEMBER void sample(const T* plane, int64_t plane_stride, V (&halves)[C]) const {
    switch (rows_) {
      case 0:
        return sample_apart(plane, plane_stride, halves);
      case 2:
        return sample_rows<2>(plane, plane_stride, halves);
      case 3:
        return sample_rows<3>(plane, plane_stride, halves);
      case 4:
        return sample_rows<4>(plane, plane_stride, halves);
      default:
        return sample_rows<most_rows>(plane, plane_stride, halves);
    }
  }

 private:
  using I = Vec<int32_t, lanes>;
  static constexpr int most_rows = 8;

  template <class U>
  INTERNET_MEMBER static Vec<U, lanes> in_halves(const U* lower, const U* upper) {
    Vec<U, pixels> half[2];
    std::memcpy(&half[0], lower, sizeof(half[0]));
    std::memcpy(&half[1], upper, sizeof(half[1]));
    return joined(half[0], half[1]);
  }
  struct Extent {
    int first, last;
  };
  // The least and the largest lane, of samples that read anything; 0 and 0 if none does.
  INTERNET_MEMBER Extent extent(I v) const {
    constexpr int none = std::numeric_limits<int32_t>::max();
    const int first = least_lane<lanes>(math::select(reads_, v, math::splat<I>(none)));
    const int last = -least_lane<lanes>(math::select(reads_, -v, math::splat<I>(none)));
    return first == none ? Extent{0, 0} : Extent{first, last};
  }
  template <int N, class W>
  INTERNET_MEMBER static int least_lane(W v) {
    if constexpr (N == 1) {
      return v[0];
    } else {
      const auto a = half_of<0>(v), b = half_of<1>(v);
      return least_lane<N / 2>(math::select(a < b, a, b));
    }
  }

  // `rows` of them, or as many as there are if it is most_rows.
  template <int rows, int C, class T>
  INTERNET_MEMBER void sample_rows(const T* plane, int64_t plane_stride, V (&halves)[C]) const {
    const int count = rows == most_rows ? rows_ : rows;
    V merged[2][C];  // the even rows, the odd rows
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) {
      const I reads_row = (i % 2 == 0 ? even_ : odd_) == i;
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        const V taps = permute(load<lanes>(plane + c * plane_stride + offsets_[i]), index_);
        merged[i % 2][c] = i < 2 ? taps : math::select(reads_row, taps, merged[i % 2][c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const V sum = merged[0][c] * even_weight_ + merged[1][c] * odd_weight_;
      halves[c] = __builtin_bit_cast(V, I(__builtin_bit_cast(I, sum) & reads_));
    }
  }

  template <int C, class T>
  INTERNET_MEMBER void sample_apart(const T* plane, int64_t plane_stride, V (&halves)[C]) const {
    for (int c = 0; c < C; ++c, plane += plane_stride) {
      halves[c] = V{};
      for (int i = 0; i < lanes; ++i) {
        if (reads_[i]) {
          halves[c][i] = widen(plane[even_[i]]) * even_weight_[i] + widen(plane[odd_[i]]) * odd_weight_[i];
        }
      }
    }
  }

  int32_t rows_;                // 0: the pixels do not fit in a window
  int32_t offsets_[most_rows];  // in a plane, where each row of the window begins
  I index_;                     // which of the window's columns a lane reads
  I even_, odd_;                // and which rows; without a window, the offsets of its two pixels
  V even_weight_, odd_weight_;
  I reads_;  // all bits set if the sample reads anything, see Samples
};

}  // namespace internet::cpu::INTERNET_ISA
