// How the pixels of a batch of images are divided among blocks: a block computes a rectangle of them, for all
// channels or a layer of them. What neighbouring pixels read in common is then read from L2 only once.
#pragma once

#include <cstdint>

#include "arguments/strided.h"
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

// The channels of a tile. Each layer has `channels_of_a_layer`, except that the last one has the rest.
struct Layer {
  int64_t first;
  int count;
};
INTERNET_HD Layer layer_of(const Tile& tile, int64_t channels, int64_t channels_of_a_layer) {
  const int64_t first = tile.layer * channels_of_a_layer, left = channels - first;
  return {first, int(left < channels_of_a_layer ? left : channels_of_a_layer)};
}

// A pixel of a tile, counted row after row; pixels past the image's edge are not `inside`.
struct TilePixel {
  int64_t row, column;
  bool inside;
};
template <class Tiles>
INTERNET_HD TilePixel tile_pixel(const Tiles& tiles, const Tile& tile, int index) {
  const int64_t row = tile.row + index / Tiles::width, column = tile.column + index % Tiles::width;
  return {row, column, row < tiles.rows && column < tiles.columns};
}

// Where a channel of an image, and a pixel of it, lie in (batch, channels, height, width).
template <class T>
INTERNET_HD T* channel_at(const Strided<T, 4>& view, int64_t image, int64_t channel) {
  return view.data + image * view.stride[0] + channel * view.stride[1];
}
template <class T>
INTERNET_HD T* pixel_at(const Strided<T, 4>& view, int64_t image, int64_t channel, const TilePixel& pixel) {
  return channel_at(view, image, channel) + pixel.row * view.stride[2] + pixel.column * view.stride[3];
}

}  // namespace internet::cuda
