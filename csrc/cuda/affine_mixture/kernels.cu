// A thread for each pixel. The logits of a tile pass through shared memory, so each is read once however
// often the formulas return to it, and in the order in which it lies in global memory: with the pixels of a
// channel side by side (contiguous) a warp reads neighbouring pixels, with the channels of a pixel side by
// side (channels_last) the block reads its tile from end to end.
//
// The gradient with respect to an affine map is a sum over all pixels of an image. A block leaves the sum
// over its tile, anchors/ adds up the tiles, both in a fixed order: no atomics, the same bits every time.
#include "cuda/affine_mixture/kernels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/warp_sum.h"
#include "math/affine_mixture.h"

namespace internet::cuda {
namespace {

constexpr int most_threads = 256;

// Blocks on a multiprocessor that the forward's registers must allow. Left to choose, ptxas aims for as many
// with doubles, which are two registers each, and spills.
template <class T, int N>
constexpr int least_blocks = sizeof(opmath<T>) == sizeof(double) ? 4
                             : N == 2                            ? 6
                                                                 : 5;

template <class S, int N>
struct alignas(4 * sizeof(S)) AnchorMap {  // so aligned that few loads fetch it
  math::Affine<S, N> affine;
};

// What reaches the maps from one pixel z: the field's gradient g, and z.
template <class S, int N>
struct alignas((N == 2 ? 4 : 2) * sizeof(S)) Pull {
  math::Point<S, N> g, z;
};

// A block's shared memory, or scratch. `values` are the tile's logits, in the backward pass then their
// exponentials and at last the weights; `gradients`, where staged, those of the logits. Both are (K+1,
// pitch), a thread's pixel along the second axis; the pitch is odd, so that walking along either axis spreads
// a warp over the banks.
template <class S, int N>
struct TileMemory {
  AnchorMap<S, N>* maps;  // (K)
  Pull<S, N>* pulls;      // (threads), backward only
  S* values;
  S* gradients;
  int pitch;

  INTERNET_MEMBER TileMemory(unsigned char* memory, int anchors, int threads, bool backward)
      : maps(reinterpret_cast<AnchorMap<S, N>*>(memory)),
        pulls(reinterpret_cast<Pull<S, N>*>(maps + anchors)),
        values(reinterpret_cast<S*>(pulls + (backward ? threads : 0))),
        gradients(values + (anchors + 1) * (threads + 1)),
        pitch(threads + 1) {}

  static size_t bytes(int anchors, int threads, bool backward, bool staged) {
    size_t image = sizeof(S) * (anchors + 1) * (threads + 1);
    return sizeof(AnchorMap<S, N>) * anchors + (backward ? sizeof(Pull<S, N>) * threads : 0) +
           image * (staged ? 2 : 1);
  }
};
static_assert(sizeof(AnchorMap<float, 2>) == 32 && sizeof(AnchorMap<double, 3>) == 96);

template <class T, int N>
INTERNET_HD void load_tile(const AffineMixture<T, N>& p, const PixelTile& tile,
                           const TileMemory<opmath<T>, N>& memory, int thread) {
  for (int k = thread; k < p.anchors; k += p.plan.threads) {
    memory.maps[k].affine = p.affine[tile.image * p.anchors + k];
  }
  const int channels = p.anchors + 1;
  const auto& stride = p.logits.stride;
  const T* image = p.logits.data + tile.image * stride[0];
  if (pixel_major(stride, channels, p.grid.size)) {
    const T* values = image + tile.first * channels;
    each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
      memory.values[channel * memory.pitch + pixel] = widen(values[offset]);
    });
  } else if (thread < tile.count) {
    const T* value = image + position(p.grid, tile.first + thread).offset(stride + 2);
#pragma unroll 4
    for (int k = 0; k < channels; ++k) {
      memory.values[k * memory.pitch + thread] = widen(value[k * stride[1]]);
    }
  }
}

// The largest of a pixel's values, which lie `pitch` apart.
template <class S>
INTERNET_HD S largest_of(const S* values, int pitch, int channels) {
  S largest = values[0];
  for (int k = 1; k < channels; ++k) largest = math::larger(largest, values[k * pitch]);
  return largest;
}

template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 2>& point) {
  *reinterpret_cast<Two<S>*>(p) = {point.axis[0], point.axis[1]};
}
template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 3>& point) {
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) p[axis] = point.axis[axis];
}

// T_0(z).
template <class T, class S, int N>
INTERNET_HD math::Point<S, N> still(const AffineMixture<T, N>& p, int64_t image, const math::Point<S, N>& z) {
  if (p.background.data == nullptr) return z;
  return math::from_homogeneous(projective<N>(p.background, image).row(z).at(z.axis[0]));
}

// Without a threshold each exponential is needed once, and is not stored.
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

// Replaces the pixel's logits by the weights with which its gradient reaches the anchors.
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

// One lane's part of the tile's gradient with respect to the map of motion k: pull_of(g, z) is what the map's
// result has of it at the pixel z, from the gradient g with respect to the motion.
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

// Each warp has its anchors, and one of them the background. All threads of the block are here.
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

template <bool in_scratch, class P>
__device__ __forceinline__ unsigned char* tile_memory(const P& p) {
  if constexpr (in_scratch) return p.scratch + blockIdx.x * p.plan.shared_bytes;
  return shared_memory;
}

template <bool thresholded, bool in_scratch, class T, int N>
__global__ void __launch_bounds__(most_threads, (least_blocks<T, N>))
    forward_kernel(AffineMixtureForward<T, N> p) {
  const TileMemory<opmath<T>, N> memory(tile_memory<in_scratch>(p), p.anchors, p.plan.threads, false);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) forward_pixel<thresholded>(p, tile, memory, thread);
}

template <bool thresholded, bool in_scratch, class T, int N>
__global__ void __launch_bounds__(most_threads) backward_kernel(AffineMixtureBackward<T, N> p) {
  const TileMemory<opmath<T>, N> memory(tile_memory<in_scratch>(p), p.anchors, p.plan.threads, true);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) backward_pixel<thresholded>(p, tile, memory, thread);
  __syncthreads();
  if (p.plan.staged) store_gradients(p, tile, memory, thread);
  if (p.partials != nullptr || p.background_partials != nullptr) sum_tile(p, tile, memory);
}

// The largest tile that fits, without staging if that is what it takes; or else the smallest, for scratch.
template <class S, int N>
TilePlan fitting(int anchors, bool backward, bool staged) {
  for (int threads = most_threads; threads >= warp_size; threads /= 2) {
    const size_t bytes = TileMemory<S, N>::bytes(anchors, threads, backward, staged);
    if (bytes <= shared_bytes_of_a_block) return {threads, staged, bytes};
  }
  if (staged) return fitting<S, N>(anchors, backward, false);
  const size_t bytes = TileMemory<S, N>::bytes(anchors, warp_size, backward, false);
  constexpr size_t unit = sizeof(AnchorMap<S, N>);  // keeps the next block's aligned
  return {warp_size, false, (bytes + unit - 1) / unit * unit};
}

template <class P>
cudaError_t launch_tiles(void (*kernel)(P), const P& p, cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * p.plan.tiles(p.grid.pixels());
  const size_t shared_bytes = needs_scratch(p.plan) ? 0 : p.plan.shared_bytes;
  return launch(kernel, blocks, p.plan.threads, shared_bytes, stream, p);
}

}  // namespace

template <class S, int N>
TilePlan plan_forward(int anchors) {
  return fitting<S, N>(anchors, false, false);
}

template <class S, int N>
TilePlan plan_backward(int anchors, const int64_t (&size)[N], const int64_t* grad_logits_stride) {
  const bool staged = grad_logits_stride != nullptr && pixel_major(grad_logits_stride, anchors + 1, size);
  return fitting<S, N>(anchors, true, staged);
}

// In scratch, a threshold of 0 is one like any other.
template <class T, int N>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>& p, cudaStream_t stream) {
  auto kernel = needs_scratch(p.plan) ? forward_kernel<true, true, T, N>
                : p.threshold > 0     ? forward_kernel<true, false, T, N>
                                      : forward_kernel<false, false, T, N>;
  return launch_tiles(kernel, p, stream);
}

template <class T, int N>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>& p, cudaStream_t stream) {
  auto kernel = needs_scratch(p.plan) ? backward_kernel<true, true, T, N>
                : p.threshold > 0     ? backward_kernel<true, false, T, N>
                                      : backward_kernel<false, false, T, N>;
  return launch_tiles(kernel, p, stream);
}

#define INSTANTIATE_PLANS(S, N)              \
  template TilePlan plan_forward<S, N>(int); \
  template TilePlan plan_backward<S, N>(int, const int64_t (&)[N], const int64_t*);
#define INSTANTIATE(T, N)                                                                       \
  template cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>&, cudaStream_t); \
  template cudaError_t affine_mixture_backward(const AffineMixtureBackward<T, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PLANS)
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
