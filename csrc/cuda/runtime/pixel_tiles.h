// Images and volumes in tiles: runs of neighbouring pixels, row after row, one pixel for each thread of a
// block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "math/anchor_affine.h"
#include "math/bilinear.h"

namespace internet::cuda {

constexpr size_t shared_bytes_of_a_block = 48 * 1024;  // available without a special request

// The pixels of each image of N axes and their normalised coordinates. S is float or double.
template <class S, int N = 2>
struct PixelGrid {
  int64_t batch;
  int64_t size[N];      // (D,) H, W
  S start[N], step[N];  // x first

  INTERNET_MEMBER int64_t width() const { return size[N - 1]; }
  INTERNET_MEMBER int64_t height() const { return size[N - 2]; }
  INTERNET_MEMBER int64_t pixels() const {
    int64_t pixels = 1;
    INTERNET_UNROLL
    for (int axis = 0; axis < N; ++axis) pixels *= size[axis];
    return pixels;
  }
};

// `sizes`: (D,) H, W.
template <class S, int N>
PixelGrid<S, N> pixel_grid(int64_t batch, const int64_t (&sizes)[N], bool align_corners) {
  PixelGrid<S, N> grid{.batch = batch, .size = {}, .start = {}, .step = {}};
  for (int axis = 0; axis < N; ++axis) {
    grid.size[axis] = sizes[axis];
    grid.start[axis] = math::normalized_start(S(sizes[N - 1 - axis]), align_corners);
    grid.step[axis] = math::normalized_step(S(sizes[N - 1 - axis]), align_corners);
  }
  return grid;
}

// The size of a tile, and how much of it is in shared memory; depends only on shapes and layouts.
struct TilePlan {
  int threads;
  bool staged;          // a channels_last tensor is read or written in memory order, by way of shared memory
  size_t shared_bytes;  // of a block

  INTERNET_MEMBER int64_t tiles(int64_t pixels) const { return (pixels + threads - 1) / threads; }
};

// Pixels first .. first + count - 1 of an image. Thread t's pixel is first + t.
struct PixelTile {
  int64_t image, index, first;
  int count;
};

template <class S, int N>
INTERNET_HD PixelTile pixel_tile_of_block(const PixelGrid<S, N>& grid, const TilePlan& plan, int64_t block) {
  const int64_t tiles = plan.tiles(grid.pixels());
  PixelTile tile;
  tile.image = block / tiles;
  tile.index = block - tile.image * tiles;
  tile.first = tile.index * plan.threads;
  const int64_t left = grid.pixels() - tile.first;
  tile.count = int(left < plan.threads ? left : plan.threads);
  return tile;
}

// A pixel's place, (slice,) row, column, and its coordinates, x first.
template <class S, int N>
struct Position {
  int64_t index[N];
  math::Point<S, N> z;

  INTERNET_MEMBER int64_t row() const { return index[N - 2]; }
  INTERNET_MEMBER int64_t column() const { return index[N - 1]; }

  // Its offset in a tensor whose axes (D,) H, W have these strides.
  INTERNET_MEMBER int64_t offset(const int64_t* strides) const {
    int64_t offset = 0;
    INTERNET_UNROLL
    for (int axis = 0; axis < N; ++axis) offset += index[axis] * strides[axis];
    return offset;
  }
};

template <class S, int N>
INTERNET_HD Position<S, N> position(const PixelGrid<S, N>& grid, int64_t pixel) {
  Position<S, N> position;
  INTERNET_UNROLL
  for (int axis = N - 1; axis >= 0; --axis) {
    const int64_t line = axis > 0 ? pixel / grid.size[axis] : 0;
    position.index[axis] = pixel - line * grid.size[axis];
    pixel = line;
    const int of_z = N - 1 - axis;
    position.z.axis[of_z] = S(position.index[axis]) * grid.step[of_z] + grid.start[of_z];
  }
  return position;
}

// Whether each image of (B, C, (D,) H, W) is stored pixel after pixel, with the channels of each side by
// side.
template <int N>
INTERNET_HD bool pixel_major(const int64_t* stride, int64_t channels, const int64_t (&size)[N]) {
  bool dense = stride[1] == 1;
  for (int axis = N - 1; axis >= 0; --axis) {
    dense = dense && stride[2 + axis] == channels;
    channels *= size[axis];
  }
  return dense;
}

// For such an image, calls visit(offset, channel, pixel) for this thread's values of a tile: neighbouring
// threads visit neighbouring offsets.
template <class Visit>
INTERNET_HD void each_value(const PixelTile& tile, int channels, int thread, int threads, Visit visit) {
  const int pixel_step = threads / channels, channel_step = threads - pixel_step * channels;
  int pixel = thread / channels, channel = thread - pixel * channels;
  for (int offset = thread; offset < tile.count * channels; offset += threads) {
    visit(offset, channel, pixel);
    pixel += pixel_step;
    channel += channel_step;
    if (channel >= channels) {
      channel -= channels;
      ++pixel;
    }
  }
}

}  // namespace internet::cuda
