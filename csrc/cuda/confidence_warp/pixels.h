// How blocks share the pixels of a warp.
#pragma once

#include "cuda/confidence_warp/kernels.h"
#include "cuda/confidence_warp/sampled_motion.h"
#include "cuda/runtime/lanes.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/runtime/vectors.h"

namespace internet::cuda {

constexpr int threads = 128;
using PixelTiles = Tiles<16, 8>;  // channels_last: two rows of one tile meet in L1
using PlaneTiles = Tiles<32, 4>;  // planes: a warp reads and writes 32 pixels of a row
static_assert(PixelTiles::pixels == threads && PlaneTiles::pixels == threads);

template <class Tiles, class S>
INTERNET_HD Tiles tiles_of(const SampledMotion<S>& motion, int64_t layers) {
  return {motion.batch, layers, motion.height, motion.width};
}

}  // namespace internet::cuda
