// Rows of a volume's output whose samples differ only in x, as is always so for an anchor without Jacobians.
//
// Such a row lies between the same four rows of the framed source throughout. These are first interpolated,
// in whole vectors, to one level row; a sample then lies between two of its pixels instead of eight. In the
// backward pass, a row's gradients are scattered into one level row, which is then added to the four with
// their weights.
#pragma once

#include "cpu/anchor_features/rows.h"
#include "cpu/runtime/scratch.h"

namespace internet::cpu::INTERNET_ISA::anchor_rows {

template <class S>
INTERNET_HD bool is_level(const math::RowMotion<S, 3>& motion) {
  return motion.slope[1] == 0 && motion.slope[2] == 0;
}

// The x axis of a framed volume: a level row is an image with one axis, and has a frame of its own.
INTERNET_HD FramedShape<1> level_shape(const FramedShape<3>& framed) { return {1, {framed.size[0]}}; }
// How many values a level row of one block has, with room for one more vector.
INTERNET_HD int64_t level_size(const FramedShape<3>& framed) {
  return 4 * level_shape(framed).extent(0) + vector_bytes / int64_t(sizeof(float));
}

// The motion along x.
template <class S>
INTERNET_HD math::RowMotion<S, 1> along_x(const math::RowMotion<S, 3>& motion) {
  return {{motion.slope[0]}, {motion.offset[0]}};
}

// The four rows by their y and z: north has the lower z, west the lower y.
template <class S>
struct FourRows {
  math::Axis<S> y, z;
  int64_t lowest_y, lowest_z;  // of the framed rows
  bool read;                   // whether any of them is read

  INTERNET_MEMBER FourRows(const math::RowMotion<S, 3>& motion, const FramedShape<3>& framed)
      : y(axis(motion, 1, framed, lowest_y)), z(axis(motion, 2, framed, lowest_z)) {
    read = math::reads_image(y, z);
  }

  // The rows in a block of a framed image, or in its gradient for a band that begins at coordinate y.
  template <class U>
  INTERNET_MEMBER math::Corners<U*> of(U* block, const FramedShape<3>& framed, int64_t begin = 0) const {
    U* first = block + (lowest_z * framed.extent(1) + lowest_y - begin) * framed.row_size();
    U* below = first + framed.extent(1) * framed.row_size();
    return {first, first + framed.row_size(), below, below + framed.row_size()};
  }

  // visit(i, the four rows' vectors from value i on) along the rows of `framed`.
  template <class U, class Visit>
  INTERNET_MEMBER static void each_vector(const math::Corners<U*>& rows, const FramedShape<3>& framed,
                                          Visit visit) {
    constexpr int n = lanes<S>;
    for (int64_t i = 0; i < framed.row_size(); i += n) {
      visit(i, math::Corners<Native<S>>{load<n>(rows.nw + i), load<n>(rows.ne + i), load<n>(rows.sw + i),
                                        load<n>(rows.se + i)});
    }
  }

  // The level row of a block; where nothing is read, zeros.
  INTERNET_MEMBER void interpolate(const S* block, const FramedShape<3>& framed, S* level) const {
    if (read) {
      each_vector(of(block, framed), framed, [&](int64_t i, const math::Corners<Native<S>>& rows) {
        store<lanes<S>>(level + i, math::blend(rows, y, z));
      });
    } else {
      std::fill(level, level + framed.row_size(), S(0));
    }
    store<4>(level + framed.row_size(), Pixel<S>{});  // the second pixel of samples that read nothing
  }

 private:
  INTERNET_MEMBER static math::Axis<S> axis(const math::RowMotion<S, 3>& motion, int a,
                                            const FramedShape<3>& framed, int64_t& lowest) {
    math::Axis<S> axis = math::axis(motion.offset[a], S(framed.size[a]), false);
    lowest = motion.offset[a] < 0 ? 0 : int64_t(axis.low) + 1;
    axis.low_slope = -1;  // because the frame of zeros is read like the image
    axis.high_slope = 1;
    return axis;
  }
};

}  // namespace internet::cpu::INTERNET_ISA::anchor_rows
