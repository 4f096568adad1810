// A thread computes each pixel of the block's tile.
#include "cuda/affine_mixture/tile.h"
#include "cuda/runtime/instantiate.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor. Without it, ptxas aims for just as many with doubles,
// which take two registers each, and spills.
template <class T, int N>
constexpr int least_blocks = sizeof(opmath<T>) == sizeof(double) ? 4
                             : N == 2                            ? 6
                                                                 : 5;

template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 2>& point) {
  *reinterpret_cast<Two<S>*>(p) = {point.axis[0], point.axis[1]};
}
template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 3>& point) {
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) p[axis] = point.axis[axis];
}

// Without a threshold, each exponential is needed only once and is not stored.
template <bool thresholded, class T, int N>
INTERNET_HD void forward_pixel(const AffineMixtureForward<T, N>& p, const PixelTile& tile,
                               const TileMemory<opmath<T>, N>& memory, int thread) {
  using S = opmath<T>;
  const S* logits = memory.values + thread;
  const AnchorMap<S, N>* maps = memory.maps;
  const int pitch = memory.pitch;
  const S largest = largest_of(logits, pitch, p.anchors + 1);
  const math::Point<S, N> z = position(p.grid, tile.first + thread).z;
  auto exponential = [=](int k) { return math::exp_below_88(logits[k * pitch] - largest); };
  auto motion = [=](int k) { return maps[k - 1].affine.row(z); };
  const auto f = math::compose<thresholded>(p.anchors, exponential, motion, still(p, tile.image, z),
                                            z.axis[0], p.threshold);
  store_point(p.field + (tile.image * p.grid.pixels() + tile.first + thread) * N, f.field);
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool thresholded, bool in_scratch, class T, int N>
__global__ void __launch_bounds__(most_threads, (least_blocks<T, N>))
    forward_kernel(AffineMixtureForward<T, N> p) {
  const TileMemory<opmath<T>, N> memory(tile_memory<in_scratch>(p, shared_memory), p.anchors, p.plan.threads,
                                        false);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) forward_pixel<thresholded>(p, tile, memory, thread);
}

}  // namespace

template <class S, int N>
TilePlan plan_forward(int anchors) {
  return fitting<S, N>(anchors, false, false);
}

template <class T, int N>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>& p, cudaStream_t stream) {
  return launch_tiles(forward_kernel<true, true, T, N>, forward_kernel<true, false, T, N>,
                      forward_kernel<false, false, T, N>, p, stream);
}

#define INSTANTIATE_PLAN(S, N) template TilePlan plan_forward<S, N>(int);
#define INSTANTIATE(T, N) \
  template cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PLAN)
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
