// A thread computes each pixel of the block's tile; then a warp sums up the tile for each anchor.
//
// The gradient with respect to an affine map is a sum over all pixels of an image. A block stores the sum
// over its tile, and anchors/ adds up the tiles, both in a fixed order: no atomics, the same bits every time.
#include "cuda/affine_mixture/tile.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool in_scratch, class T, int N>
constexpr int backward_blocks = in_scratch || sizeof(T) == sizeof(double) ? 1 : 5 - N;

// Replaces the pixel's logits by their exponentials, and returns the mixture.
template <bool thresholded, class S, int N, class Motion>
INTERNET_HD math::Composition<S, N> compose(S* values, int anchors, Motion motion,
                                            const math::Point<S, N>& still, S x, S threshold) {
  const S largest = largest_of(values, anchors + 1);
  auto exponential = [=](int k) { return values[k]; };
  auto keep_exponential = [=](int k) { return values[k] = math::exp_below_88(values[k] - largest); };
  if constexpr (thresholded) {
    for (int k = 0; k <= anchors; ++k) keep_exponential(k);
    return math::compose<true>(anchors, exponential, motion, still, x, threshold);
  } else {
    return math::compose<false>(anchors, keep_exponential, motion, still, x, threshold);
  }
}

template <class T, int N>
INTERNET_HD math::Point<opmath<T>, N> field_gradient(const AffineMixtureBackward<T, N>& p, int64_t image,
                                                     const Position<opmath<T>, N>& at) {
  const auto& stride = p.grad_field.stride;
  const opmath<T>* g = p.grad_field.data + image * stride[0] + at.offset(stride + 1);
  math::Point<opmath<T>, N> grad;
#pragma unroll
  for (int axis = 0; axis < N; ++axis) grad.axis[axis] = g[axis * stride[N + 1]];
  return grad;
}

// The gradients of the tile's logits, in the order of the memory.
template <class Map, class T, int N>
__device__ __forceinline__ void store_gradients(const AffineMixtureBackward<T, N>& p, const PixelTile& tile,
                                                const TileMemory<Map, opmath<T>, N>& memory, int thread) {
  const int channels = p.anchors + 1;
  T* out = p.grad_logits.data + tile.image * p.grad_logits.stride[0] + tile.first * channels;
  const int count = tile.count * channels;
  if (in_vectors(out, count)) return store_vectors(memory, out, count, thread, p.plan.threads);
  each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
    out[offset] = narrow<T>(memory.values[pixel * memory.pitch + channel]);
  });
}

template <class S, int N>
INTERNET_HD math::Point<S, N> scaled(math::Point<S, N> point, S factor) {
#pragma unroll
  for (int axis = 0; axis < N; ++axis) point.axis[axis] *= factor;
  return point;
}

// One lane's part of the tile's gradient with respect to the map of motion k, or with respect to its offset
// only. pull_of(g, z) turns the gradient g with respect to the motion at pixel z into the gradient with
// respect to the map's result.
template <bool thresholded, bool offset_only, class Sum, class Map, class S, int N, class PullOf>
INTERNET_HD Sum lane_sum(const TileMemory<Map, S, N>& memory, int k, int count, int lane, S threshold,
                         PullOf pull_of) {
  const S* values = memory.values + k;
  Sum sum{};
  for (int pixel = lane; pixel < count; pixel += warp_size) {
    const Pull<S, N> pull = memory.pulls[pixel];
    const S weight = math::kept_weight<thresholded>(values[pixel * memory.pitch], pull.total, threshold);
    if constexpr (offset_only) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum.offset[i] += weight * pull.g.axis[i];
    } else {
      const math::Point<S, N> z = memory.positions[pixel].z;
      sum.add_pull(pull_of(scaled(pull.g, weight), z), z);
    }
  }
  return sum;
}

// Each warp sums for some of the anchors, and one warp for the background. Must be called by all threads of
// the block.
template <bool thresholded, class Map, class T, int N>
__device__ __forceinline__ void sum_tile(const AffineMixtureBackward<T, N>& p, const PixelTile& tile,
                                         const TileMemory<Map, opmath<T>, N>& memory) {
  using S = opmath<T>;
  using Point = math::Point<S, N>;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
  const int64_t place = tile.image * p.plan.tiles(p.grid.pixels()) + tile.index;
  for (int k = warp; p.partials != nullptr && k < p.anchors; k += warps) {
    auto sum = lane_sum<thresholded, Map::translated, math::Affine<S, N>>(
        memory, k + 1, tile.count, lane, p.threshold, [](const Point& g, const Point&) { return g; });
    if constexpr (Map::translated) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum.offset[i] = warp_sum(sum.offset[i]);
    } else {
      sum = warp_sum(sum);
    }
    if (lane == 0) p.partials[place * p.anchors + k] = sum;
  }
  if (p.background_partials == nullptr || warp != p.anchors % warps) return;
  const math::Projective<S, N> background = projective<N>(p.views.background, tile.image);
  const auto sum = warp_sum(lane_sum<thresholded, false, math::Projective<S, N>>(
      memory, 0, tile.count, lane, p.threshold, [&](const Point& g, const Point& z) {
        return math::from_homogeneous_vjp(background.row(z).at(z.axis[0]), g);
      }));
  if (lane == 0) p.background_partials[place] = sum;
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool thresholded, bool in_scratch, template <class, int> class Map, class T, int N>
__global__ void __launch_bounds__(most_threads, (backward_blocks<in_scratch, T, N>))
    backward_kernel(AffineMixtureBackward<T, N> p) {
  using S = opmath<T>;
  const TileMemory<Map<S, N>, S, N> memory(tile_memory<in_scratch>(p, shared_memory), p.anchors,
                                           p.plan.threads, true);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();

  // Threads past the end repeat the last pixel's place, with values that nobody else reads.
  const Position<S, N> here = position(p.grid, tile.first + min(thread, tile.count - 1));
  const auto& stride = p.grad_logits.stride;
  T* out = p.grad_logits.data + tile.image * stride[0] + here.offset(stride + 2);
  const math::Point<S, N> z = here.z, grad = field_gradient(p, tile.image, here);
  const math::Point<S, N> background = still(p, tile.image, z);
  S* values = memory.values + thread * memory.pitch;
  auto exponential = [=](int k) { return values[k]; };
  auto motion = [&](int k) { return memory.maps[k - 1].row(z); };
  const auto f = compose<thresholded>(values, p.anchors, motion, background, z.axis[0], p.threshold);
  const auto gradient = math::composition_gradient<thresholded>(f, p.anchors, exponential, motion, background,
                                                                z.axis[0], p.threshold, grad);
  memory.pulls[thread] = {gradient.g, f.total};
  memory.positions[thread] = {z};
  __syncthreads();
  if (p.partials != nullptr || p.background_partials != nullptr) {
    sum_tile<thresholded>(p, tile, memory);
    __syncthreads();
  }
  if (p.grad_logits.data == nullptr) return;

  auto each_gradient = [&](auto emit) {
    math::each_logit_gradient<thresholded>(gradient, f, p.anchors, exponential, motion, background, z.axis[0],
                                           p.threshold, emit);
  };
  if (p.plan.staged) {
    each_gradient([&](int k, S grad) { values[k] = grad; });  // its exponential is not read again
    __syncthreads();
    store_gradients(p, tile, memory, thread);
  } else if (thread < tile.count) {
    each_gradient([&](int k, S grad) { out[k * stride[1]] = narrow<T>(grad); });
  }
}

}  // namespace

template <class S, int N>
TilePlan plan_backward(int anchors, const int64_t (&size)[N], const int64_t* grad_logits_stride) {
  const bool staged = grad_logits_stride != nullptr && pixel_major(grad_logits_stride, anchors + 1, size);
  return fitting<S, N>(anchors, true, staged);
}

template <class T, int N>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>& p, cudaStream_t stream) {
  const Variants<AffineMixtureBackward<T, N>> variants{
      .in_scratch = backward_kernel<true, true, AnchorMap, T, N>,
      .thresholded = backward_kernel<true, false, AnchorMap, T, N>,
      .plain = backward_kernel<false, false, AnchorMap, T, N>,
      .thresholded_translations = backward_kernel<true, false, AnchorTranslation, T, N>,
      .plain_translations = backward_kernel<false, false, AnchorTranslation, T, N>};
  return launch_tiles(variants, p, stream);
}

#define INSTANTIATE_PLAN(S, N) \
  template TilePlan plan_backward<S, N>(int, const int64_t (&)[N], const int64_t*);
#define INSTANTIATE(T, N) \
  template cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PLAN)
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
