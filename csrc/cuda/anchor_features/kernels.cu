// A thread for each pixel, which walks the anchors: neighbouring threads sample neighbouring pixels of the
// source, which the cache then holds for all of them. In a contiguous output (or incoming gradient) they are
// neighbours there too. In a channels_last one a pixel's (K+1)(1+C) values lie side by side: those of a chunk
// of anchors pass through shared memory, so that a warp writes (or reads) them from end to end.
//
// The gradient with respect to an anchor is a sum over all pixels of an image. What reaches the motion and
// the heat map of each pixel is left in shared memory, and then a warp sums up the tile for an anchor;
// anchors/ adds up the tiles. All in a fixed order: no atomics, the same bits every time. The gradient with
// respect to the source is a scatter (gradient_sums.h).
#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/offsets.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/scatter/grad_accumulator.h"
#include "math/anchor_features.h"

namespace internet::cuda {
namespace {

constexpr int threads_of_a_block = 256;
// An image's, whose loads then do not wait for each other; of doubles, what the registers hold.
template <class T>
constexpr int channels_at_once = sizeof(T) == 8 ? 1 : 3;

// Of blocks that a multiprocessor holds at once: the registers must do for as many.
template <class Index, class T>
constexpr int forward_blocks = sizeof(T) == 8       ? 2
                               : sizeof(Index) == 8 ? 3
                                                    : 4;
template <class Index, class T>
constexpr int backward_blocks = sizeof(T) == 8 || sizeof(Index) == 8 ? 2 : 3;

// A chunk of anchors, first .. first + count - 1, and the values of a pixel that are theirs.
struct Chunk {
  int first, count, first_value, values;
};
INTERNET_HD Chunk chunk_of(int first, int at_once, int anchors, int channels) {
  const int count = anchors - first < at_once ? anchors - first : at_once;
  return {first, count, first * (1 + channels), count * (1 + channels)};
}

// Values of a tile in shared memory, (values, pitch), a thread's pixel along the second axis. The pitch is an
// odd number of banks: walking along either axis spreads a warp over them.
template <class T>
constexpr int pitch = threads_of_a_block + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);

// What reaches the samples of a tile: the gradient with respect to the heat map and, a pitch farther each, to
// the position along x and along y, in pixels.
constexpr int pulls_of_a_pixel = 3;

// The shared memory of a block of the backward pass.
template <class T>
struct BackwardMemory {
  using S = opmath<T>;
  S *x, *y;  // coordinates of each pixel
  S* pulls;  // (anchors at once, 3, pitch)
  T* staged;

  INTERNET_MEMBER BackwardMemory(unsigned char* memory, int anchors_at_once)
      : x(reinterpret_cast<S*>(memory)),
        y(x + threads_of_a_block),
        pulls(y + threads_of_a_block),
        staged(reinterpret_cast<T*>(pulls + anchors_at_once * pulls_of_a_pixel * pitch<S>)) {}

  static size_t coordinate_bytes() { return 2 * threads_of_a_block * sizeof(S); }
  static size_t pull_bytes() { return pulls_of_a_pixel * pitch<S> * sizeof(S); }  // of an anchor
};

// Where a sample reads the source.
template <class S>
struct Footprint {
  math::Axis<S> x, y;
  bool reads;
};
template <class S>
INTERNET_HD Footprint<S> footprint(const math::Affine<S, 2>& motion, const PixelGrid<S>& grid,
                                   const Position<S, 2>& here) {
  const math::Point<S, 2> to = motion.row({{0, S(here.row())}}).at(S(here.column()));
  Footprint<S> f;
  f.x = math::axis(to.axis[0], S(grid.width()), false);
  f.y = math::axis(to.axis[1], S(grid.height()), false);
  f.reads = math::reads_image(f.x, f.y);
  return f;
}
// Its four pixels, counted in elements of a channel.
template <class Index, class S>
INTERNET_HD math::Corners<Index> corners(const Footprint<S>& f, Index row_stride, Index column_stride) {
  const Index north = Index(f.y.low) * row_stride, south = Index(f.y.high) * row_stride;
  const Index west = Index(f.x.low) * column_stride, east = Index(f.x.high) * column_stride;
  return {north + west, north + east, south + west, south + east};
}

// visit(channel, its four pixels) for every channel of a sample.
template <class T, class Index, class Visit>
INTERNET_HD void each_channel(const T* image, Index channel_stride, int channels,
                              const math::Corners<Index>& at, Visit visit) {
  using S = opmath<T>;
  constexpr int n = channels_at_once<T>;
  for (int first = 0; first < channels; first += n) {
    math::Corners<S> c[n];
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i >= channels) continue;
      const T* plane = image + (first + i) * channel_stride;
      c[i] = {widen(plane[at.nw]), widen(plane[at.ne]), widen(plane[at.sw]), widen(plane[at.se])};
    }
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i < channels) visit(first + i, c[i]);
    }
  }
}

// put(value, x) for every value of one anchor at one pixel: the heat map, then the channels.
template <class Index, class T, class Put>
INTERNET_HD void anchor_values(const AnchorFeaturesForward<T>& p, int64_t image, int anchor,
                               const Position<opmath<T>, 2>& here, Put put) {
  using S = opmath<T>;
  const AnchorMotion<S> a = p.motions[image * p.anchors + anchor];
  const auto& stride = p.source.stride;
  const Footprint<S> f = footprint(a.motion, p.grid, here);
  put(0, anchor == 0 ? S(0)
                     : math::heat_difference(here.z.axis[0], here.z.axis[1], a.points, p.per_twice_variance));
  if (!f.reads) {
    for (int c = 0; c < p.channels; ++c) put(1 + c, S(0));
    return;
  }
  const auto at = corners(f, Index(stride[2]), Index(stride[3]));
  each_channel(p.source.data + image * stride[0], Index(stride[1]), p.channels, at,
               [&](int c, const math::Corners<S>& pixels) { put(1 + c, math::blend(pixels, f.x, f.y)); });
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <class Index, class T>
__global__ void __launch_bounds__(threads_of_a_block, (forward_blocks<Index, T>))
    forward_kernel(AnchorFeaturesForward<T> p) {
  using S = opmath<T>;
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan.tile, blockIdx.x);
  const int thread = threadIdx.x, values = p.anchors * (1 + p.channels);
  const bool inside = thread < tile.count;
  const Position<S, 2> here = position(p.grid, tile.first + (inside ? thread : 0));
  const auto& stride = p.output.stride;
  T* out = p.output.data + tile.image * stride[0];
  if (!p.plan.tile.staged) {
    out += here.offset(stride + 2);
    for (int k = 0; inside && k < p.anchors; ++k) {
      const Index first = k * (1 + p.channels);
      anchor_values<Index>(p, tile.image, k, here,
                           [&](int value, S x) { out[(first + value) * Index(stride[1])] = narrow<T>(x); });
    }
    return;
  }
  T* staged = reinterpret_cast<T*>(shared_memory);
  out += tile.first * values;
  for (int first = 0; first < p.anchors; first += p.plan.anchors_at_once) {
    const Chunk chunk = chunk_of(first, p.plan.anchors_at_once, p.anchors, p.channels);
    for (int k = 0; inside && k < chunk.count; ++k) {
      T* pixel = staged + k * (1 + p.channels) * pitch<T> + thread;
      anchor_values<Index>(p, tile.image, chunk.first + k, here,
                           [&](int value, S x) { pixel[value * pitch<T>] = narrow<T>(x); });
    }
    __syncthreads();
    each_value(tile, chunk.values, thread, threads_of_a_block, [&](int, int value, int pixel) {
      out[pixel * values + chunk.first_value + value] = staged[value * pitch<T> + pixel];
    });
    __syncthreads();
  }
}

// Adds the shares of a sample's gradient to the four pixels, of which those of weight 0 may be outside.
template <class S, class Index>
__device__ __forceinline__ void scatter(const GradAccumulator<S>& plane, const math::Corners<Index>& at,
                                        const math::Corners<S>& weight, S g) {
  if (weight.nw != 0) plane.add(at.nw, weight.nw * g);
  if (weight.ne != 0) plane.add(at.ne, weight.ne * g);
  if (weight.sw != 0) plane.add(at.sw, weight.sw * g);
  if (weight.se != 0) plane.add(at.se, weight.se * g);
}

// One anchor at one pixel: `grad` gives the incoming gradient of its heat map (0) and channels (1 + c).
template <class Index, class T, class Grad>
__device__ __forceinline__ void pull_anchor(const AnchorFeaturesBackward<T>& p, int64_t image, int anchor,
                                            const Position<opmath<T>, 2>& here, Grad grad,
                                            const GradAccumulator<opmath<T>>& image_sums, opmath<T>* pulls) {
  using S = opmath<T>;
  const math::Affine<S, 2> motion = p.motions[image * p.anchors + anchor].motion;
  const auto& stride = p.source.stride;
  const Footprint<S> f = footprint(motion, p.grid, here);
  S grad_x = 0, grad_y = 0;
  if (f.reads && p.grad_motion != nullptr && anchor > 0) {
    const auto at = corners(f, Index(stride[2]), Index(stride[3]));
    each_channel(p.source.data + image * stride[0], Index(stride[1]), p.channels, at,
                 [&](int c, const math::Corners<S>& pixels) {
                   const math::BlendSlopes<S> slopes = math::blend_slopes(pixels, f.x, f.y);
                   const S g = grad(1 + c);
                   grad_x += g * slopes.x;
                   grad_y += g * slopes.y;
                 });
  }
  if (f.reads && p.sums.data != nullptr) {
    const auto& by = p.sums.stride;
    const auto at = corners(f, Index(by[2]), Index(by[3]));
    const math::Corners<S> weight = math::corner_weights(f.x, f.y);
    for (int c = 0; c < p.channels; ++c) scatter(image_sums.from(c * by[1]), at, weight, grad(1 + c));
  }
  pulls[0] = grad(0);
  pulls[pitch<S>] = grad_x * p.x_scale;
  pulls[2 * pitch<S>] = grad_y * p.y_scale;
}

// Each warp has its anchors. All threads of the block are here.
template <class T>
__device__ __forceinline__ void sum_tile(const AnchorFeaturesBackward<T>& p, const PixelTile& tile,
                                         const Chunk& chunk, const BackwardMemory<T>& memory) {
  using S = opmath<T>;
  constexpr int warps = threads_of_a_block / warp_size;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = p.plan.tile.tiles(p.grid.pixels());
  for (int k = warp; k < chunk.count; k += warps) {
    const int anchor = chunk.first + k;
    if (anchor == 0) continue;  // the background
    const math::KeyPoints<S, 2> points = p.motions[tile.image * p.anchors + anchor].points;
    const S* pulls = memory.pulls + k * pulls_of_a_pixel * pitch<S>;
    math::Affine<S, 2> grad_motion{};
    math::KeyPoints<S, 2> grad_heat{};
    for (int i = lane; i < tile.count; i += warp_size) {
      const S x = memory.x[i], y = memory.y[i];
      grad_motion.add_pull({{pulls[pitch<S> + i], pulls[2 * pitch<S> + i]}}, {{x, y}});
      math::add_heat_pull(grad_heat, pulls[i], x, y, points, p.per_twice_variance);
    }
    grad_motion = warp_sum(grad_motion);
    grad_heat = warp_sum(grad_heat);
    if (lane != 0) continue;
    const int64_t out = (tile.image * tiles + tile.index) * (p.anchors - 1) + anchor - 1;
    p.grad_motion[out] = grad_motion;
    p.grad_heat[out] = grad_heat;
  }
}

template <class Index, class T>
__global__ void __launch_bounds__(threads_of_a_block, (backward_blocks<Index, T>))
    backward_kernel(AnchorFeaturesBackward<T> p) {
  using S = opmath<T>;
  const BackwardMemory<T> memory(shared_memory, p.plan.anchors_at_once);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan.tile, blockIdx.x);
  const int thread = threadIdx.x, values = p.anchors * (1 + p.channels);
  const bool inside = thread < tile.count;
  const Position<S, 2> here = position(p.grid, tile.first + (inside ? thread : 0));
  memory.x[thread] = here.z.axis[0];
  memory.y[thread] = here.z.axis[1];
  const auto& stride = p.grad_output.stride;
  const T* grad = p.grad_output.data + tile.image * stride[0];
  const auto image_sums = GradAccumulator<S>(p.sums).from(tile.image * p.sums.stride[0]);
  const T* grad_pixel = grad + here.offset(stride + 2);
  for (int first = 0; first < p.anchors; first += p.plan.anchors_at_once) {
    const Chunk chunk = chunk_of(first, p.plan.anchors_at_once, p.anchors, p.channels);
    if (p.plan.tile.staged) {
      each_value(tile, chunk.values, thread, threads_of_a_block, [&](int, int value, int pixel) {
        memory.staged[value * pitch<T> + pixel] =
            grad[(tile.first + pixel) * values + chunk.first_value + value];
      });
      __syncthreads();
    }
    for (int k = 0; inside && k < chunk.count; ++k) {
      const int value = k * (1 + p.channels);
      pull_anchor<Index>(
          p, tile.image, chunk.first + k, here,
          [&](int i) {
            return p.plan.tile.staged
                       ? widen(memory.staged[(value + i) * pitch<T> + thread])
                       : widen(grad_pixel[Index(chunk.first_value + value + i) * Index(stride[1])]);
          },
          image_sums, memory.pulls + k * pulls_of_a_pixel * pitch<S> + thread);
    }
    __syncthreads();
    if (p.grad_motion != nullptr) sum_tile(p, tile, chunk, memory);
    __syncthreads();
  }
}

template <class S>
__global__ void motion_kernel(AnchorMotions<S> p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, b = i / (p.count + 1);
  if (b >= p.batch) return;
  AnchorMotion<S> out{};
  math::Affine<double, 2> t = math::pixel_stillness(p.x, p.y);
  if (const int64_t k = i - b * (p.count + 1); k > 0) {
    const math::Anchor<double, 2> a = p.anchors.at(b, k - 1);
    t = math::pixel_motion(math::anchor_affine(a), p.x, p.y);
    out.points = {{S(a.source[0]), S(a.source[1])}, {S(a.driving[0]), S(a.driving[1])}};
  }
  out.motion = t.to<S>();
  p.motions[i] = out;
}

// As many anchors at once as fit, but no more than there are; not staged where not one of them fits.
AnchorPlan plan(int anchors, bool staged, size_t fixed, size_t bytes, size_t staged_bytes) {
  const size_t of_an_anchor = bytes + (staged ? staged_bytes : 0);
  const size_t fitting = of_an_anchor == 0 ? anchors : (shared_bytes_of_a_block - fixed) / of_an_anchor;
  if (fitting == 0) return plan(anchors, false, fixed, bytes, 0);
  const int at_once = fitting < size_t(anchors) ? int(fitting) : anchors;
  return {{threads_of_a_block, staged, fixed + at_once * of_an_anchor}, at_once};
}

}  // namespace

template <class T>
AnchorPlan plan_forward(int anchors, int channels, const int64_t (&size)[2], const Strided<T, 4>& output) {
  const bool staged = pixel_major(output.stride, anchors * (1 + channels), size);
  return plan(anchors, staged, 0, 0, (1 + channels) * pitch<T> * sizeof(T));
}

template <class T>
AnchorPlan plan_backward(int anchors, int channels, const int64_t (&size)[2],
                         const Strided<const T, 4>& grad_output) {
  using Memory = BackwardMemory<T>;
  const bool staged = pixel_major(grad_output.stride, anchors * (1 + channels), size);
  return plan(anchors, staged, Memory::coordinate_bytes(), Memory::pull_bytes(),
              (1 + channels) * pitch<T> * sizeof(T));
}

template <class S>
cudaError_t anchor_motions(const AnchorMotions<S>& p, cudaStream_t stream) {
  return launch_each(motion_kernel<S>, p.batch * (p.count + 1), stream, p);
}

template <class T>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T>& p, cudaStream_t stream) {
  const int64_t h = p.grid.height(), w = p.grid.width(), values = p.anchors * (1 + p.channels);
  const bool short_offsets =
      fits_32_bits(p.source, {p.channels, h, w}) && fits_32_bits(p.output, {values, h, w});
  auto kernel = short_offsets ? forward_kernel<int32_t, T> : forward_kernel<int64_t, T>;
  const int64_t blocks = p.grid.batch * p.plan.tile.tiles(p.grid.pixels());
  return launch(kernel, blocks, threads_of_a_block, p.plan.tile.shared_bytes, stream, p);
}

template <class T>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T>& p, cudaStream_t stream) {
  const int64_t h = p.grid.height(), w = p.grid.width(), values = p.anchors * (1 + p.channels);
  const bool short_offsets = fits_32_bits(p.source, {p.channels, h, w}) &&
                             fits_32_bits(p.grad_output, {values, h, w}) &&
                             p.channels * h * w < (int64_t(1) << 30);  // the sums have no gaps
  auto kernel = short_offsets ? backward_kernel<int32_t, T> : backward_kernel<int64_t, T>;
  const int64_t blocks = p.grid.batch * p.plan.tile.tiles(p.grid.pixels());
  return launch(kernel, blocks, threads_of_a_block, p.plan.tile.shared_bytes, stream, p);
}

template cudaError_t anchor_motions(const AnchorMotions<float>&, cudaStream_t);
template cudaError_t anchor_motions(const AnchorMotions<double>&, cudaStream_t);

#define INSTANTIATE(T)                                                                           \
  template AnchorPlan plan_forward(int, int, const int64_t (&)[2], const Strided<T, 4>&);        \
  template AnchorPlan plan_backward(int, int, const int64_t (&)[2], const Strided<const T, 4>&); \
  template cudaError_t anchor_features_forward(const AnchorFeaturesForward<T>&, cudaStream_t);   \
  template cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T>&, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
