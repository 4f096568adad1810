// Warping volumes, backward: the gradient with respect to the motion in the order of the forward pass, and
// that with respect to the volume as a scatter. Voxels and channels are assigned to threads as in the forward
// pass.
#include "cuda/runtime/instantiate.h"
#include "cuda/scatter/grad_accumulator.h"
#include "cuda/scatter/warp_scatter.h"
#include "cuda/volume_warp/voxels.h"

namespace internet::cuda {
namespace {

// A voxel's gradient with respect to the motion, from its dot products.
template <class T, class S = opmath<T>>
__device__ __forceinline__ void store_motion(const VolumeMotionBackward<T>& p, const Tile& tile,
                                             const TilePixel& voxel, const math::Corners<S, 3>& dots) {
  const SampledVolume<S>& m = p.samples;
  math::Axis<S> axes[3];
  const S confidence = axes_at(m, tile.image, voxel.row, voxel.column, axes);
  S scales[3], position[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) scales[i] = math::pixels_per_unit(S(m.size[i]), m.align_corners);
  const S grad_confidence = math::motion_gradient(axes, confidence, dots, scales, position);
  const int64_t at = (tile.image * m.rows() + voxel.row) * m.width + voxel.column;
#pragma unroll
  for (int i = 0; i < 3; ++i) p.grad_field[3 * at + i] = position[i];
  if (p.grad_confidence != nullptr) p.grad_confidence[at] = grad_confidence;
}

// The dot products of a vector of the gradient with four vectors of the volume.
template <int N, class T, class S>
__device__ __forceinline__ math::Corners<S> dots_of_four(const Values<S, N>& g, const T* p,
                                                         const math::Corners<int64_t>& at) {
  const auto nw = load_packed<N>(p + at.nw), ne = load_packed<N>(p + at.ne);
  const auto sw = load_packed<N>(p + at.sw), se = load_packed<N>(p + at.se);
  return {g.dot(widen(nw)), g.dot(widen(ne)), g.dot(widen(sw)), g.dot(widen(se))};
}
template <class S>
__device__ __forceinline__ math::Corners<S> group_sums(const math::Corners<S>& d, int lanes) {
  return {group_sum(d.nw, lanes), group_sum(d.ne, lanes), group_sum(d.sw, lanes), group_sum(d.se, lanes)};
}

// A group of lanes computes as many voxels as it has lanes, one after the other; each thread then finishes
// the voxel whose sample it prepared.
template <class T>
__global__ void __launch_bounds__(threads) motion_voxels_kernel(VolumeMotionBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = volume_vector<T>;
  __shared__ TrilinearSample<S> samples[threads];
  const auto tiles = tiles_of<VoxelTiles>(p, 1);
  const auto [tile, own, sample] = own_voxel(tiles, p.samples);
  samples[threadIdx.x] = sample;
  __syncwarp();
  const int lanes = lanes_for(p.channels / N), lane = threadIdx.x % lanes, first = threadIdx.x - lane;
  const T* volume = p.volume.data + tile.image * p.volume.stride[0];
  const T* gradient = p.grad_output.data + tile.image * p.grad_output.stride[0];
  math::Corners<S, 3> own_dots{};
  for (int i = first; i < first + lanes; ++i) {
    const TrilinearSample<S>& s = samples[i];
    math::Corners<S, 3> dots{};
    if (s.reads) {
      const auto at = voxels_in(p.volume, s);
      const T* g_at = gradient + place(p.grad_output, p.samples.height, tile_pixel(tiles, tile, i));
      for (int64_t c = lane * N; c < p.channels; c += lanes * N) {
        const auto g = load<N>(g_at + c);
        math::add_scaled(dots, S(1),
                         {dots_of_four(g, volume + c, at.low), dots_of_four(g, volume + c, at.high)});
      }
    }
    dots = {group_sums(dots.low, lanes), group_sums(dots.high, lanes)};
    if (i == int(threadIdx.x)) own_dots = dots;
  }
  if (own.inside) store_motion(p, tile, own, own_dots);
}

template <class T>
__global__ void __launch_bounds__(threads) motion_planes_kernel(VolumeMotionBackward<T> p) {
  using S = opmath<T>;
  const auto [tile, voxel, s] = own_voxel(tiles_of<PlaneTiles>(p, 1), p.samples);
  if (!voxel.inside) return;
  const auto at = voxels_in(p.volume, s);
  const T* plane = p.volume.data + tile.image * p.volume.stride[0];
  const T* gradient = p.grad_output.data + tile.image * p.grad_output.stride[0] +
                      place(p.grad_output, p.samples.height, voxel);
  math::Corners<S, 3> dots{};
  const int64_t count = s.reads ? p.channels : 0;
#pragma unroll 2
  for (int64_t c = 0; c < count; ++c, plane += p.volume.stride[1], gradient += p.grad_output.stride[1]) {
    math::add_scaled(dots, load(gradient), load_eight(plane, at));
  }
  store_motion(p, tile, voxel, dots);
}

// Adds one channel of one sample to its voxels of one slice.
template <class S>
__device__ __forceinline__ void add_to_slice(const GradAccumulator<S>& sums, const TrilinearSample<S>& s,
                                             const math::Corners<S>& weights,
                                             const math::Corners<int64_t>& at, S gradient) {
  sums.add(at.nw, weights.nw * gradient);
  if (s.east) sums.add(at.ne, weights.ne * gradient);
  if (s.south) sums.add(at.sw, weights.sw * gradient);
  if (s.east && s.south) sums.add(at.se, weights.se * gradient);
}
template <class S>
__device__ __forceinline__ void add_to_slices(const GradAccumulator<S>& sums, const TrilinearSample<S>& s,
                                              const math::Corners<int64_t, 3>& at, S gradient) {
  add_to_slice(sums, s, s.weights.low, at.low, gradient);
  if (s.after) add_to_slice(sums, s, s.weights.high, at.high, gradient);
}
template <class T, class S>
INTERNET_HD math::Corners<int64_t, 3> voxels_in_sums(const VolumeScatter<T>& p, const TrilinearSample<S>& s) {
  const int64_t row_stride = p.sums.stride[2];
  return voxels_of(s, p.samples.size[1] * row_stride, row_stride, p.sums.stride[3]);
}

template <class T>
__global__ void __launch_bounds__(threads) scatter_voxels_kernel(VolumeScatter<T> p) {
  using S = opmath<T>;
  __shared__ TrilinearSample<S> samples[threads];
  const auto tiles = tiles_of<VoxelTiles>(p, 1);
  const auto [tile, own, sample] = own_voxel(tiles, p.samples);
  samples[threadIdx.x] = sample;
  __syncthreads();
  const int lanes = lanes_for(p.channels), group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  const T* gradient = p.grad_output.data + tile.image * p.grad_output.stride[0];
  const auto sums = GradAccumulator<S>(p.sums).from(tile.image * p.sums.stride[0]);
  for (int i = group; i < threads; i += threads / lanes) {
    const TrilinearSample<S>& s = samples[i];
    if (!s.reads) continue;
    const auto at = voxels_in_sums(p, s);
    const T* g = gradient + place(p.grad_output, p.samples.height, tile_pixel(tiles, tile, i));
    for (int64_t c = lane; c < p.channels; c += lanes) {
      add_to_slices(sums.from(c * p.sums.stride[1]), s, at, load(g + c * p.grad_output.stride[1]));
    }
  }
}

// The lanes of a warp process a row of voxels, including those past the volume's edge.
template <class T>
__global__ void __launch_bounds__(threads) scatter_planes_kernel(VolumeScatter<T> p) {
  using S = opmath<T>;
  const auto [tile, voxel, s] = own_voxel(tiles_of<PlaneTiles>(p, layers_of(p)), p.samples);
  const EastMerge merge(s);
  const auto at = voxels_in_sums(p, s);
  const auto [first, count] = layer_of(tile, p.channels, layer_channels);
  const T* gradient = p.grad_output.data + tile.image * p.grad_output.stride[0] +
                      first * p.grad_output.stride[1] + place(p.grad_output, p.samples.height, voxel);
  const auto sums = GradAccumulator<S>(p.sums).from(tile.image * p.sums.stride[0] + first * p.sums.stride[1]);
  for (int c = 0; c < count; ++c) {
    const S g = s.reads ? load(gradient + c * p.grad_output.stride[1]) : S(0);
    scatter(sums.from(c * p.sums.stride[1]), s, merge, at, g);
  }
}

}  // namespace

template <class T>
cudaError_t volume_motion_backward(const VolumeMotionBackward<T>& p, bool vectors, cudaStream_t stream) {
  if (vectors) {
    return launch(motion_voxels_kernel<T>, tiles_of<VoxelTiles>(p, 1).count(), threads, 0, stream, p);
  }
  return launch(motion_planes_kernel<T>, tiles_of<PlaneTiles>(p, 1).count(), threads, 0, stream, p);
}

template <class T>
cudaError_t volume_scatter(const VolumeScatter<T>& p, bool vectors, cudaStream_t stream) {
  if (vectors) {
    return launch(scatter_voxels_kernel<T>, tiles_of<VoxelTiles>(p, 1).count(), threads, 0, stream, p);
  }
  return launch(scatter_planes_kernel<T>, tiles_of<PlaneTiles>(p, layers_of(p)).count(), threads, 0, stream,
                p);
}

#define INSTANTIATE(T)                                                                             \
  template cudaError_t volume_motion_backward(const VolumeMotionBackward<T>&, bool, cudaStream_t); \
  template cudaError_t volume_scatter(const VolumeScatter<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
