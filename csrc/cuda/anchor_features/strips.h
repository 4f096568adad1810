// Images and volumes in strips: up to 32 neighbouring pixels of a row (of a slice, for volumes), at some
// successive indices of the first axis. Each lane of a warp has a pixel and walks along the first axis, where
// all of its other coordinates are constant: what depends on them alone is computed once for all steps.
#pragma once

#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/launch.h"
#include "math/anchor_features.h"

namespace internet::cuda {

constexpr int steps_of_a_strip = 8;
constexpr int warps_of_a_strip = 4, threads_of_a_strip = warps_of_a_strip * warp_size;

// How many strips an image has: across a row or slice, and along the first axis.
struct StripCount {
  int64_t across, along;
  INTERNET_MEMBER int64_t of_an_image() const { return across * along; }
};
template <class S, int N>
INTERNET_HD StripCount strip_count(const PixelGrid<S, N>& grid) {
  const int64_t slice = grid.size[0] == 0 ? 0 : grid.pixels() / grid.size[0];
  return {(slice + warp_size - 1) / warp_size, (grid.size[0] + steps_of_a_strip - 1) / steps_of_a_strip};
}

struct Strip {
  int64_t image, index;  // its index in the image
  int64_t pixel, step;   // the first pixel in a slice, and the first index of the first axis
  int count, steps;
};

template <class S, int N>
INTERNET_HD Strip strip_of_block(const PixelGrid<S, N>& grid, int64_t block) {
  const StripCount strips = strip_count(grid);
  Strip strip;
  strip.image = block / strips.of_an_image();
  strip.index = block - strip.image * strips.of_an_image();
  const int64_t along = strip.index / strips.across;
  strip.pixel = (strip.index - along * strips.across) * warp_size;
  strip.step = along * steps_of_a_strip;
  const int64_t pixels = grid.pixels() / grid.size[0] - strip.pixel, steps = grid.size[0] - strip.step;
  strip.count = int(pixels < warp_size ? pixels : warp_size);
  strip.steps = int(steps < steps_of_a_strip ? steps : steps_of_a_strip);
  return strip;
}

// A lane's pixel at a strip's first step. Lanes that are not `inside` have that of the first lane.
template <class S, int N>
struct StripPixel {
  bool inside;
  math::Point<S, N> at;  // its indices, x first

  INTERNET_MEMBER StripPixel(const PixelGrid<S, N>& grid, const Strip& strip, int lane)
      : inside(lane < strip.count) {
    int64_t line = strip.pixel + (inside ? lane : 0);
    INTERNET_UNROLL
    for (int axis = N - 1; axis > 0; --axis) {
      const int64_t next = axis > 1 ? line / grid.size[axis] : 0;
      at.axis[N - 1 - axis] = S(line - next * grid.size[axis]);
      line = next;
    }
    at.axis[N - 1] = S(strip.step);
  }
  // Its normalised coordinates.
  INTERNET_MEMBER math::Point<S, N> z(const PixelGrid<S, N>& grid) const {
    math::Point<S, N> z;
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) z.axis[a] = at.axis[a] * grid.step[a] + grid.start[a];
    return z;
  }
  // That along the first axis, after some steps.
  INTERNET_MEMBER S z_at(const PixelGrid<S, N>& grid, int step) const {
    return (at.axis[N - 1] + S(step)) * grid.step[N - 1] + grid.start[N - 1];
  }
  // Its offset in a tensor whose axes (D,) H, W have these strides.
  INTERNET_MEMBER int64_t offset(const int64_t* strides) const {
    int64_t offset = 0;
    INTERNET_UNROLL
    for (int axis = 0; axis < N; ++axis) offset += int64_t(at.axis[N - 1 - axis]) * strides[axis];
    return offset;
  }
};

// A map along the first axis of the pixels, where all other coordinates of z are fixed.
template <class S, int N, int m>
INTERNET_HD math::RowMotion<S, m> along_first_axis(const math::Affine<S, N, m>& map,
                                                   const math::Point<S, N>& z) {
  math::RowMotion<S, m> row;
  INTERNET_UNROLL
  for (int i = 0; i < m; ++i) {
    row.slope[i] = map.matrix[i][N - 1];
    row.offset[i] = map.offset[i];
    INTERNET_UNROLL
    for (int j = 0; j < N - 1; ++j) row.offset[i] += map.matrix[i][j] * z.axis[j];
  }
  return row;
}

// The gradient with respect to a map, from pixels along the first axis.
template <class S, int m>
struct PullsAlongFirstAxis {
  S level[m], slope[m];

  // Adds the part of a pixel where the map has the gradient g.
  INTERNET_MEMBER void add(const math::Point<S, m>& g, S z) {
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      level[i] += g.axis[i];
      slope[i] += g.axis[i] * z;
    }
  }
  // z: the coordinates of the other axes.
  template <int N>
  INTERNET_MEMBER math::Affine<S, N, m> gradient(const math::Point<S, N>& z) const {
    math::Affine<S, N, m> gradient;
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      INTERNET_UNROLL
      for (int j = 0; j < N - 1; ++j) gradient.matrix[i][j] = level[i] * z.axis[j];
      gradient.matrix[i][N - 1] = slope[i];
      gradient.offset[i] = level[i];
    }
    return gradient;
  }
};

// A Gaussian along the first axis: E = (curvature d + slope) d + level, with d the distance from its key
// point along that axis.
template <class S, int N>
struct GaussianAlongFirstAxis {
  S d[N];  // the distances along the other axes; along the first one, that of z = 0
  S curvature, slope, level;
  S sums[3] = {};  // of the weights, times 1, d and d^2

  INTERNET_MEMBER GaussianAlongFirstAxis(const math::Gaussian<S, N>& g, const math::Point<S, N>& z,
                                         bool has_covariance) {
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) d[a] = z.axis[a] - g.point[a];
    d[N - 1] = -g.point[N - 1];
    curvature = has_covariance ? g.exponent[math::axis_pairs<N> - 1] : g.exponent[0];
    slope = level = 0;
    math::each_axis_pair<N>([&](int place, int i, int j) {
      if (i == N - 1 || (i != j && !has_covariance)) return;
      const S exponent = has_covariance ? g.exponent[place] : g.exponent[0];
      if (j == N - 1) {
        slope += exponent * d[i];
      } else {
        level += exponent * d[i] * d[j];
      }
    });
  }

  INTERNET_MEMBER S exponent_at(S z) const {
    const S distance = z + d[N - 1];
    return (curvature * distance + slope) * distance + level;
  }

  // Adds the part of a pixel at z, where the gradient with respect to its value is `grad`.
  INTERNET_MEMBER void add(S z, S grad) {
    const S distance = z + d[N - 1];
    const S weight = grad * math::gaussian_slope(exponent_at(z));
    sums[0] += weight;
    sums[1] += weight * distance;
    sums[2] += weight * distance * distance;
  }

  INTERNET_MEMBER math::GaussianMoments<S, N> moments() const {
    math::GaussianMoments<S, N> moments;
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) moments.first[a] = a == N - 1 ? sums[1] : sums[0] * d[a];
    math::each_axis_pair<N>([&](int place, int i, int j) {
      moments.second[place] = i == N - 1 ? sums[2] : j == N - 1 ? sums[1] * d[i] : sums[0] * d[i] * d[j];
    });
    return moments;
  }
};

}  // namespace internet::cuda
