// Images in tiles: runs of neighbouring pixels, row after row, one pixel for each thread of a block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "math/bilinear.h"

namespace internet::cuda {

constexpr size_t shared_bytes_of_a_block = 48 * 1024;  // what a kernel gets without asking

// The pixels of each image and their normalised coordinates. S is float or double.
template <class S>
struct PixelGrid {
  int64_t batch, height, width;
  S x_start, x_step, y_start, y_step;

  INTERNET_MEMBER int64_t pixels() const { return height * width; }
};

template <class S>
PixelGrid<S> pixel_grid(int64_t batch, int64_t height, int64_t width, bool align_corners) {
  return {.batch = batch,
          .height = height,
          .width = width,
          .x_start = math::normalized_start(S(width), align_corners),
          .x_step = math::normalized_step(S(width), align_corners),
          .y_start = math::normalized_start(S(height), align_corners),
          .y_step = math::normalized_step(S(height), align_corners)};
}

// A tile's size, and what of it goes through shared memory; a function of shapes and layouts alone.
struct TilePlan {
  int threads;
  bool staged;  // a channels_last tensor is read or written in the order it has, by way of shared memory
  size_t shared_bytes;  // of a block

  INTERNET_MEMBER int64_t tiles(int64_t pixels) const { return (pixels + threads - 1) / threads; }
};

// Pixels first .. first + count - 1 of an image; pixel first + t is thread t's.
struct PixelTile {
  int64_t image, index, first;
  int count;
};

template <class S>
INTERNET_HD PixelTile pixel_tile_of_block(const PixelGrid<S>& grid, const TilePlan& plan, int64_t block) {
  const int64_t tiles = plan.tiles(grid.pixels());
  PixelTile tile;
  tile.image = block / tiles;
  tile.index = block - tile.image * tiles;
  tile.first = tile.index * plan.threads;
  const int64_t left = grid.pixels() - tile.first;
  tile.count = int(left < plan.threads ? left : plan.threads);
  return tile;
}

template <class S>
struct Position {
  int64_t row, column;
  S x, y;
};

template <class S>
INTERNET_HD Position<S> position(const PixelGrid<S>& grid, int64_t pixel) {
  Position<S> z;
  z.row = pixel / grid.width;
  z.column = pixel - z.row * grid.width;
  z.x = S(z.column) * grid.x_step + grid.x_start;
  z.y = S(z.row) * grid.y_step + grid.y_start;
  return z;
}

// Whether each image of (B, C, H, W) lies pixel after pixel, their channels side by side, without gaps.
INTERNET_HD bool pixel_major(const int64_t* stride, int64_t channels, int64_t width) {
  return stride[1] == 1 && stride[3] == channels && stride[2] == channels * width;
}

// In such an image, visit(offset, channel, pixel) for this thread's share of a tile's values: neighbouring
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
