// A thread for each pixel. The logits of a tile pass through shared memory, so each is read once however
// often the formulas return to it, and in the order in which it lies in global memory: with the pixels of a
// channel side by side (contiguous) a warp reads neighbouring pixels, with the channels of a pixel side by
// side (channels_last) the block reads its tile from end to end.
//
// The gradient with respect to an affine map is a sum over all pixels of an image. A block leaves the sum
// over its tile, anchors/ adds up the tiles, both in a fixed order: no atomics, the same bits every time.
#include "cuda/affine_mixture/kernels.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/warp_sum.h"
#include "math/affine_mixture.h"

namespace internet::cuda {
namespace {

constexpr int most_threads = 256;

// Blocks on a multiprocessor that the forward's registers must allow. Left to choose, ptxas aims for as many
// with doubles, which are two registers each, and spills.
template <class T>
constexpr int least_blocks = sizeof(opmath<T>) == sizeof(double) ? 4 : 6;

template <class S>
struct alignas(4 * sizeof(S)) AnchorMap {  // so aligned that two loads fetch it
  math::Affine<S, 2> affine;
};

// What reaches the affine maps from one pixel z: the field's gradient g, and z.
template <class S>
struct alignas(4 * sizeof(S)) Pull {
  S gx, gy, x, y;
};

// A block's shared memory, or scratch. `values` are the tile's logits, in the backward pass then their
// exponentials and at last the weights; `gradients`, where staged, those of the logits. Both are (K+1,
// pitch), a thread's pixel along the second axis; the pitch is odd, so that walking along either axis spreads
// a warp over the banks.
template <class S>
struct TileMemory {
  AnchorMap<S>* maps;  // (K)
  Pull<S>* pulls;      // (threads), backward only
  S* values;
  S* gradients;
  int pitch;

  INTERNET_MEMBER TileMemory(unsigned char* memory, int anchors, int threads, bool backward)
      : maps(reinterpret_cast<AnchorMap<S>*>(memory)),
        pulls(reinterpret_cast<Pull<S>*>(maps + anchors)),
        values(reinterpret_cast<S*>(pulls + (backward ? threads : 0))),
        gradients(values + (anchors + 1) * (threads + 1)),
        pitch(threads + 1) {}

  static size_t bytes(int anchors, int threads, bool backward, bool staged) {
    size_t image = sizeof(S) * (anchors + 1) * (threads + 1);
    return sizeof(AnchorMap<S>) * anchors + (backward ? sizeof(Pull<S>) * threads : 0) +
           image * (staged ? 2 : 1);
  }
};
static_assert(sizeof(AnchorMap<float>) == 32 && sizeof(AnchorMap<double>) == 64);

template <class P>
INTERNET_HD void load_tile(const P& p, const PixelTile& tile, const TileMemory<typename P::S>& memory,
                           int thread) {
  for (int k = thread; k < p.anchors; k += p.plan.threads) {
    memory.maps[k].affine = p.affine[tile.image * p.anchors + k];
  }
  const int channels = p.anchors + 1;
  const auto& stride = p.logits.stride;
  const auto* image = p.logits.data + tile.image * stride[0];
  if (pixel_major(stride, channels, p.grid.width)) {
    const auto* values = image + tile.first * channels;
    each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
      memory.values[channel * memory.pitch + pixel] = widen(values[offset]);
    });
  } else if (thread < tile.count) {
    const auto z = position(p.grid, tile.first + thread);
    const auto* value = image + z.row * stride[2] + z.column * stride[3];
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

// Without a threshold each exponential is needed once, and is not stored.
template <bool thresholded, class T>
INTERNET_HD void forward_pixel(const AffineMixtureForward<T>& p, const PixelTile& tile,
                               const TileMemory<opmath<T>>& memory, int thread) {
  using S = opmath<T>;
  const S* logits = memory.values + thread;
  const AnchorMap<S>* maps = memory.maps;
  const int pitch = memory.pitch;
  const S largest = largest_of(logits, pitch, p.anchors + 1);
  const Position<S> z = position(p.grid, tile.first + thread);
  auto exponential = [=](int k) { return math::exp_below_88(logits[k * pitch] - largest); };
  const math::Point<S, 2> at{{z.x, z.y}};
  auto motion = [=](int k) { return maps[k - 1].affine.row(at); };
  const auto f = math::compose<thresholded, S>(p.anchors, exponential, motion, at, z.x, p.threshold);
  auto* field = reinterpret_cast<Two<S>*>(p.field);
  field[tile.image * p.grid.pixels() + tile.first + thread] = {f.field.axis[0], f.field.axis[1]};
}

// Replaces the pixel's logits by the weights with which its gradient reaches the anchors.
template <bool thresholded, class T>
INTERNET_HD void backward_pixel(const AffineMixtureBackward<T>& p, const PixelTile& tile,
                                const TileMemory<opmath<T>>& memory, int thread) {
  using S = opmath<T>;
  S* values = memory.values + thread;
  S* staged = memory.gradients + thread;
  const AnchorMap<S>* maps = memory.maps;
  const int pitch = memory.pitch;
  const S largest = largest_of(values, pitch, p.anchors + 1);
  for (int k = 0; k <= p.anchors; ++k) {
    values[k * pitch] = math::exp_below_88(values[k * pitch] - largest);
  }
  const Position<S> z = position(p.grid, tile.first + thread);
  const auto& by = p.grad_field.stride;
  const S* g = p.grad_field.data + tile.image * by[0] + z.row * by[1] + z.column * by[2];
  const S gx = g[0], gy = g[by[3]];
  memory.pulls[thread] = {gx, gy, z.x, z.y};
  const auto& stride = p.grad_logits.stride;
  T* out = p.grad_logits.data;
  if (out != nullptr) out += tile.image * stride[0] + z.row * stride[2] + z.column * stride[3];
  auto exponential = [=](int k) { return values[k * pitch]; };
  const math::Point<S, 2> at{{z.x, z.y}}, grad{{gx, gy}};
  auto motion = [=](int k) { return maps[k - 1].affine.row(at); };
  auto emit = [&](int k, S grad_logit, S weight) {
    values[k * pitch] = weight;  // its exponential is not read again
    if (p.plan.staged) {
      staged[k * pitch] = grad_logit;
    } else if (out != nullptr) {
      out[k * stride[1]] = narrow<T>(grad_logit);
    }
  };
  math::compose_vjp<thresholded, S>(p.anchors, exponential, motion, at, z.x, p.threshold, grad, emit);
}

template <class T>
INTERNET_HD void store_gradients(const AffineMixtureBackward<T>& p, const PixelTile& tile,
                                 const TileMemory<opmath<T>>& memory, int thread) {
  const int channels = p.anchors + 1;
  T* out = p.grad_logits.data + tile.image * p.grad_logits.stride[0] + tile.first * channels;
  each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
    out[offset] = narrow<T>(memory.gradients[channel * memory.pitch + pixel]);
  });
}

// One lane's part of the tile's gradient with respect to the map of an anchor: sums of w g, times 1, x and y.
template <class S>
INTERNET_HD math::Affine<S, 2> lane_sum(const TileMemory<S>& memory, int anchor, int count, int lane,
                                        int lanes) {
  const S* weights = memory.values + (anchor + 1) * memory.pitch;
  math::Affine<S, 2> sum{};
  for (int pixel = lane; pixel < count; pixel += lanes) {
    const Pull<S> pull = memory.pulls[pixel];
    sum.add_pull({{weights[pixel] * pull.gx, weights[pixel] * pull.gy}}, {{pull.x, pull.y}});
  }
  return sum;
}

// Each warp has its anchors. All threads of the block are here.
template <class T>
__device__ __forceinline__ void sum_tile(const AffineMixtureBackward<T>& p, const PixelTile& tile,
                                         const TileMemory<opmath<T>>& memory) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, warps = blockDim.x / warp_size;
  const int64_t tiles = p.plan.tiles(p.grid.pixels());
  math::Affine<opmath<T>, 2>* partials = p.partials + (tile.image * tiles + tile.index) * p.anchors;
  for (int k = warp; k < p.anchors; k += warps) {
    const auto sum = warp_sum(lane_sum(memory, k, tile.count, lane, warp_size));
    if (lane == 0) partials[k] = sum;
  }
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool in_scratch, class P>
__device__ __forceinline__ unsigned char* tile_memory(const P& p) {
  if constexpr (in_scratch) return p.scratch + blockIdx.x * p.plan.shared_bytes;
  return shared_memory;
}

template <bool thresholded, bool in_scratch, class T>
__global__ void __launch_bounds__(most_threads, least_blocks<T>) forward_kernel(AffineMixtureForward<T> p) {
  const TileMemory<opmath<T>> memory(tile_memory<in_scratch>(p), p.anchors, p.plan.threads, false);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) forward_pixel<thresholded>(p, tile, memory, thread);
}

template <bool thresholded, bool in_scratch, class T>
__global__ void __launch_bounds__(most_threads) backward_kernel(AffineMixtureBackward<T> p) {
  const TileMemory<opmath<T>> memory(tile_memory<in_scratch>(p), p.anchors, p.plan.threads, true);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) backward_pixel<thresholded>(p, tile, memory, thread);
  __syncthreads();
  if (p.plan.staged) store_gradients(p, tile, memory, thread);
  if (p.partials != nullptr) sum_tile(p, tile, memory);
}

// The largest tile that fits, without staging if that is what it takes; or else the smallest, for scratch.
template <class S>
TilePlan fitting(int anchors, bool backward, bool staged) {
  for (int threads = most_threads; threads >= warp_size; threads /= 2) {
    const size_t bytes = TileMemory<S>::bytes(anchors, threads, backward, staged);
    if (bytes <= shared_bytes_of_a_block) return {threads, staged, bytes};
  }
  if (staged) return fitting<S>(anchors, backward, false);
  const size_t bytes = TileMemory<S>::bytes(anchors, warp_size, backward, false);
  constexpr size_t unit = sizeof(AnchorMap<S>);  // keeps the next block's aligned
  return {warp_size, false, (bytes + unit - 1) / unit * unit};
}

template <class P>
cudaError_t launch_tiles(void (*kernel)(P), const P& p, cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * p.plan.tiles(p.grid.pixels());
  const size_t shared_bytes = needs_scratch(p.plan) ? 0 : p.plan.shared_bytes;
  return launch(kernel, blocks, p.plan.threads, shared_bytes, stream, p);
}

}  // namespace

template <class S>
TilePlan plan_forward(int anchors) {
  return fitting<S>(anchors, false, false);
}

template <class S>
TilePlan plan_backward(int anchors, int64_t width, const int64_t* grad_logits_stride) {
  const bool staged = grad_logits_stride != nullptr && pixel_major(grad_logits_stride, anchors + 1, width);
  return fitting<S>(anchors, true, staged);
}

// In scratch, a threshold of 0 is one like any other.
template <class T>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T>& p, cudaStream_t stream) {
  auto kernel = needs_scratch(p.plan) ? forward_kernel<true, true, T>
                : p.threshold > 0     ? forward_kernel<true, false, T>
                                      : forward_kernel<false, false, T>;
  return launch_tiles(kernel, p, stream);
}

template <class T>
cudaError_t affine_mixture_backward(const AffineMixtureBackward<T>& p, cudaStream_t stream) {
  auto kernel = needs_scratch(p.plan) ? backward_kernel<true, true, T>
                : p.threshold > 0     ? backward_kernel<true, false, T>
                                      : backward_kernel<false, false, T>;
  return launch_tiles(kernel, p, stream);
}

template TilePlan plan_forward<float>(int);
template TilePlan plan_forward<double>(int);
template TilePlan plan_backward<float>(int, int64_t, const int64_t*);
template TilePlan plan_backward<double>(int, int64_t, const int64_t*);

#define INSTANTIATE(T)                                                                       \
  template cudaError_t affine_mixture_forward(const AffineMixtureForward<T>&, cudaStream_t); \
  template cudaError_t affine_mixture_backward(const AffineMixtureBackward<T>&, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
