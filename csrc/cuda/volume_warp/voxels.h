// How blocks divide the voxels of a volume, and what the passes read of them.
#pragma once

#include "cuda/runtime/lanes.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/own_pixel.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/trilinear_sample.h"
#include "cuda/volume_warp/kernels.h"

namespace internet::cuda {

constexpr int threads = 128;
using VoxelTiles = Tiles<16, 8>;  // channels_last: rows of one tile meet in L1
using PlaneTiles = Tiles<32, 4>;  // planes: a warp reads and writes 32 voxels of a row
static_assert(VoxelTiles::pixels == threads && PlaneTiles::pixels == threads);

constexpr int64_t layer_channels = 32;  // of planes: enough to amortise the computation of the samples

template <class Tiles, class P>
INTERNET_HD Tiles tiles_of(const P& p, int64_t layers) {
  return {p.samples.batch, layers, p.samples.rows(), p.samples.width};
}
template <class P>
INTERNET_HD int64_t layers_of(const P& p) {
  return ceiling(p.channels, layer_channels);
}

// The offset of an output voxel within its image, in a tensor (batch, channels, depth, height, width).
template <class T>
INTERNET_HD int64_t place(const Strided<T, 5>& view, int64_t height, const TilePixel& voxel) {
  const int64_t slice = voxel.row / height;
  return slice * view.stride[2] + (voxel.row - slice * height) * view.stride[3] +
         voxel.column * view.stride[4];
}

template <class T, class S>
INTERNET_HD math::Corners<int64_t, 3> voxels_in(const Strided<T, 5>& volume, const TrilinearSample<S>& s) {
  return voxels_of(s, volume.stride[2], volume.stride[3], volume.stride[4]);
}

template <class T>
__device__ __forceinline__ math::Corners<opmath<T>> load_four(const T* p, const math::Corners<int64_t>& at) {
  return {load(p + at.nw), load(p + at.ne), load(p + at.sw), load(p + at.se)};
}
template <class T>
__device__ __forceinline__ math::Corners<opmath<T>, 3> load_eight(const T* p,
                                                                  const math::Corners<int64_t, 3>& at) {
  return {load_four(p, at.low), load_four(p, at.high)};
}

// This thread's voxel of the block's tile, and its sample. A voxel past the volume's edge reads nothing.
template <class S>
struct OwnVoxel {
  Tile tile;
  TilePixel voxel;
  TrilinearSample<S> sample;
};
template <class Tiles, class S>
__device__ __forceinline__ OwnVoxel<S> own_voxel(const Tiles& tiles, const SampledVolume<S>& samples) {
  const auto [tile, voxel] = own_pixel(tiles);
  TrilinearSample<S> sample{};
  if (voxel.inside) sample = sample_at(samples, tile.image, voxel.row, voxel.column);
  return {tile, voxel, sample};
}

}  // namespace internet::cuda
