// A thread computes each pixel of the block's tile; then a warp sums up the tile for each anchor.
//
// The gradient with respect to an affine map is a sum over all pixels of an image. A block stores the sum
// over its tile, and anchors/ adds up the tiles, both in a fixed order: no atomics, the same bits every time.
#include "cuda/affine_mixture/tile.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"

namespace internet::cuda {
namespace {

// Replaces the pixel's logits by the weights of the motions, which its gradient is multiplied by for each
// anchor.
template <bool thresholded, class T, int N>
INTERNET_HD void backward_pixel(const AffineMixtureBackward<T, N>& p, const PixelTile& tile,
                                const TileMemory<opmath<T>, N>& memory, int thread) {
  using S = opmath<T>;
  S* values = memory.values + thread;
  S* staged = memory.gradients + thread;
  const AnchorMap<S, N>* maps = memory.maps;
  const int pitch = memory.pitch;
  const S largest = largest_of(values, pitch, p.anchors + 1);
  for (int k = 0; k <= p.anchors; ++k) {
    values[k * pitch] = math::exp_below_88(values[k * pitch] - largest);
  }
  const Position<S, N> here = position(p.grid, tile.first + thread);
  const math::Point<S, N> z = here.z;
  const auto& by = p.grad_field.stride;
  const S* g = p.grad_field.data + tile.image * by[0] + here.offset(by + 1);
  math::Point<S, N> grad;
#pragma unroll
  for (int axis = 0; axis < N; ++axis) grad.axis[axis] = g[axis * by[N + 1]];
  memory.pulls[thread] = {grad, z};
  const auto& stride = p.grad_logits.stride;
  T* out = p.grad_logits.data;
  if (out != nullptr) out += tile.image * stride[0] + here.offset(stride + 2);
  auto exponential = [=](int k) { return values[k * pitch]; };
  auto motion = [=](int k) { return maps[k - 1].affine.row(z); };
  auto emit = [&](int k, S grad_logit, S weight) {
    values[k * pitch] = weight;  // its exponential is not read again
    if (p.plan.staged) {
      staged[k * pitch] = grad_logit;
    } else if (out != nullptr) {
      out[k * stride[1]] = narrow<T>(grad_logit);
    }
  };
  math::compose_vjp<thresholded>(p.anchors, exponential, motion, still(p, tile.image, z), z.axis[0],
                                 p.threshold, grad, emit);
}

template <class T, int N>
INTERNET_HD void store_gradients(const AffineMixtureBackward<T, N>& p, const PixelTile& tile,
                                 const TileMemory<opmath<T>, N>& memory, int thread) {
  const int channels = p.anchors + 1;
  T* out = p.grad_logits.data + tile.image * p.grad_logits.stride[0] + tile.first * channels;
  each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
    out[offset] = narrow<T>(memory.gradients[channel * memory.pitch + pixel]);
  });
}

template <class S, int N>
INTERNET_HD math::Point<S, N> scaled(math::Point<S, N> point, S factor) {
#pragma unroll
  for (int axis = 0; axis < N; ++axis) point.axis[axis] *= factor;
  return point;
}

// One lane's part of the tile's gradient with respect to the map of motion k. pull_of(g, z) turns the
// gradient g with respect to the motion at pixel z into the gradient with respect to the map's result.
template <class Sum, class S, int N, class PullOf>
INTERNET_HD Sum lane_sum(const TileMemory<S, N>& memory, int k, int count, int lane, PullOf pull_of) {
  const S* weights = memory.values + k * memory.pitch;
  Sum sum{};
  for (int pixel = lane; pixel < count; pixel += warp_size) {
    const Pull<S, N> pull = memory.pulls[pixel];
    sum.add_pull(pull_of(scaled(pull.g, weights[pixel]), pull.z), pull.z);
  }
  return sum;
}

// Each warp sums for some of the anchors, and one warp for the background. Must be called by all threads of
// the block.
template <class T, int N>
__device__ __forceinline__ void sum_tile(const AffineMixtureBackward<T, N>& p, const PixelTile& tile,
                                         const TileMemory<opmath<T>, N>& memory) {
  using S = opmath<T>;
  using Point = math::Point<S, N>;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
  const int64_t place = tile.image * p.plan.tiles(p.grid.pixels()) + tile.index;
  for (int k = warp; k < p.anchors; k += warps) {
    const auto sum = warp_sum(lane_sum<math::Affine<S, N>>(memory, k + 1, tile.count, lane,
                                                           [](const Point& g, const Point&) { return g; }));
    if (lane == 0) p.partials[place * p.anchors + k] = sum;
  }
  if (p.background_partials == nullptr || warp != p.anchors % warps) return;
  const math::Projective<S, N> background = projective<N>(p.background, tile.image);
  const auto sum = warp_sum(
      lane_sum<math::Projective<S, N>>(memory, 0, tile.count, lane, [&](const Point& g, const Point& z) {
        return math::from_homogeneous_vjp(background.row(z).at(z.axis[0]), g);
      }));
  if (lane == 0) p.background_partials[place] = sum;
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool thresholded, bool in_scratch, class T, int N>
__global__ void __launch_bounds__(most_threads) backward_kernel(AffineMixtureBackward<T, N> p) {
  const TileMemory<opmath<T>, N> memory(tile_memory<in_scratch>(p, shared_memory), p.anchors, p.plan.threads,
                                        true);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) backward_pixel<thresholded>(p, tile, memory, thread);
  __syncthreads();
  if (p.plan.staged) store_gradients(p, tile, memory, thread);
  if (p.partials != nullptr || p.background_partials != nullptr) sum_tile(p, tile, memory);
}

}  // namespace

template <class S, int N>
TilePlan plan_backward(int anchors, const int64_t (&size)[N], const int64_t* grad_logits_stride) {
  const bool staged = grad_logits_stride != nullptr && pixel_major(grad_logits_stride, anchors + 1, size);
  return fitting<S, N>(anchors, true, staged);
}

template <class T, int N>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>& p, cudaStream_t stream) {
  return launch_tiles(backward_kernel<true, true, T, N>, backward_kernel<true, false, T, N>,
                      backward_kernel<false, false, T, N>, p, stream);
}

#define INSTANTIATE_PLAN(S, N) \
  template TilePlan plan_backward<S, N>(int, const int64_t (&)[N], const int64_t*);
#define INSTANTIATE(T, N) \
  template cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PLAN)
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
