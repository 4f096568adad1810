// Warping volumes, forward. A sample's position and weights are computed once and serve all channels that the
// block computes.
//
// With the channels of a voxel side by side (channels_last_3d), each thread first prepares the sample of one
// voxel of the block's tile in shared memory; then as many lanes as a voxel has vectors, at most a warp,
// compute voxel after voxel. Otherwise a thread computes one voxel, plane after plane.
#include "cuda/runtime/instantiate.h"
#include "cuda/volume_warp/voxels.h"

namespace internet::cuda {
namespace {

// sum += weights times the four vectors.
template <int N, class T, class S>
__device__ __forceinline__ void add_four(Values<S, N>& sum, const math::Corners<S>& weights, const T* p,
                                         const math::Corners<int64_t>& at) {
  const auto nw = load_packed<N>(p + at.nw), ne = load_packed<N>(p + at.ne);
  const auto sw = load_packed<N>(p + at.sw), se = load_packed<N>(p + at.se);
  sum.add(weights.nw, widen(nw));
  sum.add(weights.ne, widen(ne));
  sum.add(weights.sw, widen(sw));
  sum.add(weights.se, widen(se));
}

template <class T>
__global__ void __launch_bounds__(threads) voxels_kernel(VolumeWarp<T> p) {
  using S = opmath<T>;
  constexpr int N = volume_vector<T>;
  __shared__ TrilinearSample<S> samples[threads];
  const auto tiles = tiles_of<VoxelTiles>(p, 1);
  const auto [tile, own, sample] = own_voxel(tiles, p.samples);
  samples[threadIdx.x] = sample;
  __syncthreads();
  const int lanes = lanes_for(p.channels / N), group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  const T* volume = p.volume.data + tile.image * p.volume.stride[0];
  T* output = p.output.data + tile.image * p.output.stride[0];
  for (int i = group; i < threads; i += threads / lanes) {
    const TilePixel voxel = tile_pixel(tiles, tile, i);
    if (!voxel.inside) continue;
    const TrilinearSample<S>& s = samples[i];
    const auto at = voxels_in(p.volume, s);
    T* out = output + place(p.output, p.samples.height, voxel);
    for (int64_t c = lane * N; c < p.channels; c += lanes * N) {
      Values<S, N> sum{};
      if (s.reads) {
        add_four(sum, s.weights.low, volume + c, at.low);
        add_four(sum, s.weights.high, volume + c, at.high);
      }
      store<N>(out + c, sum);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(threads) planes_kernel(VolumeWarp<T> p) {
  using S = opmath<T>;
  const auto [tile, voxel, s] = own_voxel(tiles_of<PlaneTiles>(p, layers_of(p)), p.samples);
  if (!voxel.inside) return;
  const auto at = voxels_in(p.volume, s);
  const auto [first, count] = layer_of(tile, p.channels, layer_channels);
  const int64_t stride = p.volume.stride[1], out_stride = p.output.stride[1];
  const T* plane = p.volume.data + tile.image * p.volume.stride[0] + first * stride;
  T* out = p.output.data + tile.image * p.output.stride[0] + first * out_stride +
           place(p.output, p.samples.height, voxel);
  // What a sample loads without reading the volume is discarded.
#pragma unroll 2
  for (int c = 0; c < count; ++c, plane += stride, out += out_stride) {
    const auto value = load_eight(plane, at);
    *out = narrow<T>(s.reads ? math::weighted_sum(s.weights, value) : S(0));
  }
}

}  // namespace

template <class T>
cudaError_t volume_warp(const VolumeWarp<T>& p, bool vectors, cudaStream_t stream) {
  if (vectors) return launch(voxels_kernel<T>, tiles_of<VoxelTiles>(p, 1).count(), threads, 0, stream, p);
  return launch(planes_kernel<T>, tiles_of<PlaneTiles>(p, layers_of(p)).count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) template cudaError_t volume_warp(const VolumeWarp<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
