// Pixels and anchors are divided as in the forward pass. The gradient with respect to an anchor is a sum over
// all pixels of an image: the gradients with respect to each pixel's motion and heat map are stored in shared
// memory, a warp sums up the tile for each anchor, and anchors/ adds up the tiles. Everything is in a fixed
// order: no atomics, the same bits every time. The gradient with respect to the source is a scatter
// (gradient_sums.h).
#include "cuda/anchor_features/chunks.h"
#include "cuda/anchor_features/gaussians.h"
#include "cuda/anchor_features/samples.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/scatter/grad_accumulator.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class Index, class T, int N>
constexpr int backward_blocks = burdens<Index, T, N> == 0                    ? 3
                                : sizeof(T) == 8 && burdens<Index, T, N> > 1 ? 1
                                                                             : 2;

// What is stored of each pixel of a tile: the gradient with respect to its heat map and, one pitch further
// each, with respect to its sampling position along x, y and z, in normalised coordinates.
template <int N>
constexpr int pulls_of_a_pixel = 1 + N;

// The shared memory of a block of the backward pass.
template <class T, int N>
struct BackwardMemory {
  using S = opmath<T>;
  S* coordinates;  // (N, threads)
  S* pulls;        // (anchors at once, 1 + N, pitch)
  T* staged;

  INTERNET_MEMBER BackwardMemory(unsigned char* memory, int anchors_at_once)
      : coordinates(reinterpret_cast<S*>(memory)),
        pulls(coordinates + N * threads_of_a_block),
        staged(reinterpret_cast<T*>(pulls + anchors_at_once * pulls_of_a_pixel<N> * pitch<S>)) {}

  INTERNET_MEMBER void put(int pixel, const math::Point<S, N>& z) const {
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) coordinates[a * threads_of_a_block + pixel] = z.axis[a];
  }
  INTERNET_MEMBER math::Point<S, N> at(int pixel) const {
    math::Point<S, N> z;
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) z.axis[a] = coordinates[a * threads_of_a_block + pixel];
    return z;
  }

  static size_t coordinate_bytes() { return N * threads_of_a_block * sizeof(S); }
  static size_t pull_bytes() { return pulls_of_a_pixel<N> * pitch<S> * sizeof(S); }  // of an anchor
};

// Adds a sample's gradient to its pixels by their weights. Pixels of weight 0 may lie outside the image.
template <class S, class Index>
__device__ __forceinline__ void scatter(const GradAccumulator<S>& plane, const math::Corners<Index>& at,
                                        const math::Corners<S>& weight, S g) {
  if (weight.nw != 0) plane.add(at.nw, weight.nw * g);
  if (weight.ne != 0) plane.add(at.ne, weight.ne * g);
  if (weight.sw != 0) plane.add(at.sw, weight.sw * g);
  if (weight.se != 0) plane.add(at.se, weight.se * g);
}
template <class S, class Index, int N>
__device__ __forceinline__ void scatter(const GradAccumulator<S>& plane, const math::Corners<Index, N>& at,
                                        const math::Corners<S, N>& weight, S g) {
  scatter(plane, at.low, weight.low, g);
  scatter(plane, at.high, weight.high, g);
}

// One anchor at one pixel. `grad` returns the incoming gradient of the heat map (0) and of the channels (1 +
// c).
template <class Index, class T, int N, class Grad>
__device__ __forceinline__ void pull_anchor(const AnchorFeaturesBackward<T, N>& p, int64_t image, int anchor,
                                            const Position<opmath<T>, N>& pixel, Grad grad,
                                            const GradAccumulator<opmath<T>>& image_sums, opmath<T>* pulls) {
  using S = opmath<T>;
  const SourceSample<S, N> sample = source_sample(p, image, anchor, pixel);
  S moved[N] = {};
  if (sample.reads && p.to_anchors && (anchor > 0 || p.backgrounds != nullptr)) {
    each_channel<N, Index>(p.source, image, p.channels, sample,
                           [&](int c, const math::Corners<S, N>& pixels) {
                             S slopes[N];
                             math::blend_slopes(pixels, sample.axes, slopes);
                             const S g = grad(1 + c);
                             INTERNET_UNROLL
                             for (int a = 0; a < N; ++a) moved[a] += g * slopes[a];
                           });
  }
  if (sample.reads && p.sums.data != nullptr) {
    const auto& by = p.sums.stride;
    Index stride[N] = {Index(by[3]), Index(by[2])};
    if constexpr (N == 3) stride[2] = Index(by[2]) * Index(p.grid.height());  // the slices are consecutive
    const math::Corners<Index, N> at = corners<N>(sample.axes, stride);
    const math::Corners<S, N> weight = math::corner_weights<N>(sample.axes);
    for (int c = 0; c < p.channels; ++c) scatter(image_sums.from(c * by[1]), at, weight, grad(1 + c));
  }
  pulls[0] = grad(0);
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) pulls[(1 + a) * pitch<S>] = moved[a] * p.scale[a];
}

// The gradient with respect to the sampling position of a pixel.
template <int N, class S>
INTERNET_HD math::Point<S, N> position_gradient(const S* pulls, int pixel) {
  math::Point<S, N> g;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) g.axis[a] = pulls[(1 + a) * pitch<S> + pixel];
  return g;
}

// The gradient with respect to the background, whose map is affine only in homogeneous coordinates. A pixel
// without a gradient is skipped, because the map may divide by zero there.
template <class T, int N>
__device__ __forceinline__ void sum_background(const AnchorFeaturesBackward<T, N>& p, const PixelTile& tile,
                                               const BackwardMemory<T, N>& memory, int lane) {
  using S = opmath<T>;
  const math::Projective<S, N> background = projective<N>(p.background, tile.image);
  math::Projective<S, N> grad{};
  for (int i = lane; i < tile.count; i += warp_size) {
    const math::Point<S, N> z = memory.at(i), g = position_gradient<N>(memory.pulls, i);
    bool moves = false;
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) moves = moves || g.axis[a] != 0;
    if (moves) grad.add_pull(math::from_homogeneous_vjp(background.row(z).at(z.axis[0]), g), z);
  }
  grad = warp_sum(grad);
  if (lane == 0) p.grad_background[tile.image * p.plan.tile.tiles(p.grid.pixels()) + tile.index] = grad;
}

// The moments for one of an anchor's two Gaussians, which enters the heat map with this sign.
template <class T, int N>
__device__ __forceinline__ math::GaussianMoments<opmath<T>, N> sum_heat(
    const math::Gaussian<opmath<T>, N>& gaussian, bool has_covariance, opmath<T> sign, int count,
    const BackwardMemory<T, N>& memory, const opmath<T>* pulls, int lane) {
  using S = opmath<T>;
  math::GaussianMoments<S, N> moments{};
  for (int i = lane; i < count; i += warp_size) {
    S d[N];
    const S exponent = exponent_at(memory.at(i), gaussian, has_covariance, d);
    const S weight = sign * pulls[i] * math::gaussian_slope(exponent);
    math::add_first_moment(moments, weight, d);
    if (has_covariance) math::add_second_moment(moments, weight, d);
  }
  return warp_moments(moments);
}

// Each warp sums for some of the anchors. Must be called by all threads of the block.
template <class T, int N>
__device__ __forceinline__ void sum_tile(const AnchorFeaturesBackward<T, N>& p, const PixelTile& tile,
                                         const Chunk& chunk, const BackwardMemory<T, N>& memory) {
  using S = opmath<T>;
  constexpr int warps = threads_of_a_block / warp_size;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t tiles = p.plan.tile.tiles(p.grid.pixels());
  for (int k = warp; k < chunk.count; k += warps) {
    const int anchor = chunk.first + k;
    if (anchor == 0) {
      if (p.backgrounds != nullptr) sum_background(p, tile, memory, lane);
      continue;
    }
    const S* pulls = memory.pulls + k * pulls_of_a_pixel<N> * pitch<S>;
    math::Affine<S, N> grad_motion{};
    for (int i = lane; i < tile.count; i += warp_size) {
      grad_motion.add_pull(position_gradient<N>(pulls, i), memory.at(i));
    }
    grad_motion = warp_sum(grad_motion);
    const math::HeatMap<S, N> heat_map = p.motions[tile.image * p.anchors + anchor].heat_map;
    const int64_t out = (tile.image * tiles + tile.index) * (p.anchors - 1) + anchor - 1;
    if (lane == 0) p.grad_motion[out] = grad_motion;
    const auto driving = sum_heat(heat_map.driving, p.has_covariances, S(1), tile.count, memory, pulls, lane);
    if (lane == 0) p.grad_heat[out].driving = driving;
    const auto source = sum_heat(heat_map.source, p.has_covariances, S(-1), tile.count, memory, pulls, lane);
    if (lane == 0) p.grad_heat[out].source = source;
  }
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <class Index, class T, int N>
__global__ void __launch_bounds__(threads_of_a_block, (backward_blocks<Index, T, N>))
    backward_kernel(AnchorFeaturesBackward<T, N> p) {
  using S = opmath<T>;
  const BackwardMemory<T, N> memory(shared_memory, p.plan.anchors_at_once);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan.tile, blockIdx.x);
  const int thread = threadIdx.x, values = p.anchors * (1 + p.channels);
  const bool inside = thread < tile.count;
  const Position<S, N> pixel = position(p.grid, tile.first + (inside ? thread : 0));
  memory.put(thread, pixel.z);
  const auto& stride = p.grad_output.stride;
  const T* grad = p.grad_output.data + tile.image * stride[0];
  const auto image_sums = GradAccumulator<S>(p.sums).from(tile.image * p.sums.stride[0]);
  const T* grad_pixel = grad + pixel.offset(stride + 2);
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
          p, tile.image, chunk.first + k, pixel,
          [&](int i) {
            return p.plan.tile.staged
                       ? widen(memory.staged[(value + i) * pitch<T> + thread])
                       : widen(grad_pixel[Index(chunk.first_value + value + i) * Index(stride[1])]);
          },
          image_sums, memory.pulls + k * pulls_of_a_pixel<N> * pitch<S> + thread);
    }
    __syncthreads();
    if (p.to_anchors) sum_tile(p, tile, chunk, memory);
    __syncthreads();
  }
}

}  // namespace

template <class T, int N>
AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>& p) {
  using Memory = BackwardMemory<T, N>;
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.grad_output.stride, p.anchors * values, p.grid.size);
  return plan(p.anchors, staged, Memory::coordinate_bytes(), Memory::pull_bytes(),
              values * pitch<T> * sizeof(T));
}

template <class T, int N>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>& p, cudaStream_t stream) {
  const bool short_offsets = fits_32_bits(p, p.grad_output) &&
                             p.channels * p.grid.pixels() < (int64_t(1) << 30);  // the sums are dense
  auto kernel = short_offsets ? backward_kernel<int32_t, T, N> : backward_kernel<int64_t, T, N>;
  return launch_tiles(kernel, p, stream);
}

#define INSTANTIATE(T, N)                                                 \
  template AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>&); \
  template cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
