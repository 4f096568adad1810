// Warping, backward pass of the blend b: out = ... + (1 - M) b. As in the forward pass, with the channels of
// a pixel side by side a group of lanes computes pixel after pixel; otherwise a thread computes a pixel,
// plane after plane.
#include "cuda/confidence_warp/pixels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/own_pixel.h"

namespace internet::cuda {
namespace {

template <class T, class S = opmath<T>>
__device__ __forceinline__ void store_dot(const WarpBlendBackward<T>& p, const Tile& tile,
                                          const TilePixel& pixel, S dot) {
  const SampledMotion<S>& m = p.motion;
  p.blend_dots[(tile.image * m.height + pixel.row) * m.width + pixel.column] = dot;
}

// A group of lanes computes as many pixels as it has lanes, one after the other.
template <class T>
__global__ void __launch_bounds__(threads) blend_pixels_kernel(WarpBlendBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>;
  __shared__ S rest[threads];
  const auto tiles = tiles_of<PixelTiles>(p.motion, 1);
  const auto [tile, own] = own_pixel(tiles);
  rest[threadIdx.x] = own.inside ? 1 - confidence_at(p.motion, tile.image, own.row, own.column) : S(0);
  __syncwarp();
  const int lanes = lanes_for(p.channels / N), lane = threadIdx.x % lanes, first = threadIdx.x - lane;
  for (int i = first; i < first + lanes; ++i) {
    const TilePixel pixel = tile_pixel(tiles, tile, i);
    const T *gradient = pixel_at(p.grad_output, tile.image, 0, pixel),
            *blend = pixel_at(p.blend, tile.image, 0, pixel);
    T* target = pixel_at(p.grad_blend, tile.image, 0, pixel);
    S dot = 0;
    for (int64_t c = lane * N; c < p.channels && pixel.inside; c += lanes * N) {
      const auto g = load<N>(gradient + c);
      if (p.blend_dots != nullptr) dot += g.dot(load<N>(blend + c));
      if (p.grad_blend.data == nullptr) continue;
      Values<S, N> scaled{};
      scaled.add(rest[i], g);
      store<N>(target + c, scaled);
    }
    if (p.blend_dots == nullptr) continue;
    dot = group_sum(dot, lanes);
    if (lane == 0 && pixel.inside) store_dot(p, tile, pixel, dot);
  }
}

template <class T>
__global__ void __launch_bounds__(threads) blend_planes_kernel(WarpBlendBackward<T> p) {
  using S = opmath<T>;
  const auto [tile, pixel] = own_pixel(tiles_of<PlaneTiles>(p.motion, 1));
  if (!pixel.inside) return;
  const S rest = 1 - confidence_at(p.motion, tile.image, pixel.row, pixel.column);
  const T *gradient = pixel_at(p.grad_output, tile.image, 0, pixel),
          *blend = pixel_at(p.blend, tile.image, 0, pixel);
  T* target = pixel_at(p.grad_blend, tile.image, 0, pixel);
  S dot = 0;
#pragma unroll 4
  for (int64_t c = 0; c < p.channels; ++c) {
    const S g = load(gradient + c * p.grad_output.stride[1]);
    if (p.blend_dots != nullptr) dot += g * load(blend + c * p.blend.stride[1]);
    if (p.grad_blend.data != nullptr) target[c * p.grad_blend.stride[1]] = narrow<T>(rest * g);
  }
  if (p.blend_dots != nullptr) store_dot(p, tile, pixel, dot);
}

}  // namespace

template <class T>
cudaError_t warp_blend_backward(const WarpBlendBackward<T>& p, bool vectors, cudaStream_t stream) {
  if (vectors) {
    return launch(blend_pixels_kernel<T>, tiles_of<PixelTiles>(p.motion, 1).count(), threads, 0, stream, p);
  }
  return launch(blend_planes_kernel<T>, tiles_of<PlaneTiles>(p.motion, 1).count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) \
  template cudaError_t warp_blend_backward(const WarpBlendBackward<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
