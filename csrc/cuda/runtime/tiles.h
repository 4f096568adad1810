// How the pixels of a batch of images are divided among blocks: a block does a rectangle of them, for all
// channels or a layer of them. What neighbouring pixels read in common is then read from L2 only once.
#pragma once

#include <cstdint>

#include "math/host_device.h"

namespace internet::cuda {

// n / d, rounded up.
INTERNET_HD int64_t ceiling(int64_t n, int64_t d) { return (n + d - 1) / d; }

template <int width_, int height_>
struct Tiles {
  static constexpr int width = width_, height = height_, pixels = width * height;
  int64_t images, layers, rows, columns;  // rows x columns pixels in an image

  INTERNET_MEMBER int64_t across() const { return ceiling(columns, width); }
  INTERNET_MEMBER int64_t down() const { return ceiling(rows, height); }
  INTERNET_MEMBER int64_t count() const { return images * layers * down() * across(); }
};

// A tile and its first pixel.
struct Tile {
  int64_t image, layer, row, column;
};
template <class Tiles>
INTERNET_HD Tile tile_of_block(const Tiles& tiles, int64_t block) {
  const int64_t line = block / tiles.across(), sheet = line / tiles.down();
  Tile tile;
  tile.image = sheet / tiles.layers;
  tile.layer = sheet - tile.image * tiles.layers;
  tile.row = (line - sheet * tiles.down()) * Tiles::height;
  tile.column = (block - line * tiles.across()) * Tiles::width;
  return tile;
}

// A pixel of a tile, row after row; those beyond the image are not inside.
struct TilePixel {
  int64_t row, column;
  bool inside;
};
template <class Tiles>
INTERNET_HD TilePixel tile_pixel(const Tiles& tiles, const Tile& tile, int index) {
  const int64_t row = tile.row + index / Tiles::width, column = tile.column + index % Tiles::width;
  return {row, column, row < tiles.rows && column < tiles.columns};
}

}  // namespace internet::cuda
