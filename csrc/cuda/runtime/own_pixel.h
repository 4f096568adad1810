// A thread's pixel, for the .cu files.
#pragma once

#include <cuda_runtime.h>

#include "cuda/runtime/tiles.h"

namespace internet::cuda {

// The block's tile, and this thread's pixel of it.
struct OwnPixel {
  Tile tile;
  TilePixel pixel;
};
template <class Tiles>
__device__ __forceinline__ OwnPixel own_pixel(const Tiles& tiles) {
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  return {tile, tile_pixel(tiles, tile, threadIdx.x)};
}

}  // namespace internet::cuda
