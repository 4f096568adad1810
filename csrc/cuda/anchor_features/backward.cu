// A block has a strip of pixels (strips.h), and its warps share the anchors. The gradient with respect to an
// anchor is a sum over all pixels of an image: a warp adds up its strip in registers, and anchors/ adds up
// the strips. Everything is in a fixed order: no atomics, the same bits every time. The gradient with respect
// to the source is a scatter (gradient_sums.h).
//
// In a channels_last incoming gradient, the (K+1)(1+C) values of a pixel lie side by side: those of as many
// anchors as there are warps are brought to shared memory, so that a warp reads them from end to end.
#include "cuda/anchor_features/chunks.h"
#include "cuda/anchor_features/gaussians.h"
#include "cuda/anchor_features/samples.h"
#include "cuda/anchor_features/strips.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/pointers.h"
#include "cuda/runtime/vectors.h"
#include "cuda/scatter/slab_scatter.h"

namespace internet::cuda {
namespace {

// What a kernel computes: the gradients with respect to the anchors, or those with respect to the source, in
// either form of the sums.
enum class Task { anchors, source, source_in_fixed_point };

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class Index, class T, int N>
constexpr int backward_blocks = sizeof(T) == 8 || sizeof(Index) == 8 ? 2
                                : N == 2                             ? 5
                                                                     : 4;

// Incoming gradients are loaded some steps ahead, together.
template <int N>
constexpr int steps_ahead = N == 2 ? 4 : 2;

// The pitch of a strip's values in shared memory, (values, steps, pitch), with the lanes along the last axis.
template <class T>
constexpr int lane_pitch = odd_pitch<T>(warp_size);

// Calls visit(step, sample, g) for every pixel of a lane's walk along a strip, with the incoming gradients of
// the channels `first` .. `first + n - 1`. A lane that is not inside reads nothing. `grad(c, step)` returns
// that of a channel.
template <int n, class T, int N, class Motion, class Grad, class Visit>
__device__ __forceinline__ void walk(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                     const StripPixel<opmath<T>, N>& pixel, const Motion& motion, int first,
                                     Grad grad, Visit visit) {
  using S = opmath<T>;
  const auto along = along_first_axis(motion, pixel.at);
#pragma unroll 1
  for (int from = 0; from < strip.steps; from += steps_ahead<N>) {
    Values<S, n> g[steps_ahead<N>]{};
#pragma unroll
    for (int i = 0; i < steps_ahead<N>; ++i) {
#pragma unroll
      for (int c = 0; c < n; ++c) {
        if (pixel.inside && from + i < strip.steps && first + c < p.channels)
          g[i].value[c] = grad(first + c, from + i);
      }
    }
#pragma unroll
    for (int i = 0; i < steps_ahead<N>; ++i) {
      if (from + i >= strip.steps) break;
      SourceSample<S, N> sample = source_sample<N>(along, pixel.at.axis[N - 1] + S(from + i), p.grid);
      sample.reads = sample.reads && pixel.inside;
      visit(from + i, sample, g[i]);
    }
  }
}

// Calls pull(step, g) with the gradient with respect to the position in the source, in pixels, of every pixel
// that reads the source, once for each pack of channels.
template <class Index, class T, int N, class Motion, class Grad, class Pull>
__device__ __forceinline__ void pull_positions(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                               const StripPixel<opmath<T>, N>& pixel, const Motion& motion,
                                               Grad grad, Pull pull) {
  using S = opmath<T>;
  constexpr int n = channels_of_a_pack<T>;
  const T* packs = computed(p.source.data + strip.image * p.source.image_stride);
  for (int first = 0; first < p.channels; first += n, packs += p.source.pixels * n) {
    walk<n>(p, strip, pixel, motion, first, grad,
            [&](int step, const SourceSample<S, N>& sample, const SourceValues<T>& grads) {
              math::Corners<S, N> dots{};
              add_dots<T>(dots, grads, read(packs, corners<Index>(sample, p.grid)));
              math::Point<S, N> g;
              math::blend_slopes(dots, sample.axes, g.axis);
              INTERNET_UNROLL
              for (int a = 0; a < N; ++a) g.axis[a] = sample.reads ? g.axis[a] * p.scale[a] : S(0);
              pull(step, g);
            });
  }
}

// Adds the gradient with respect to the source. Must be called by whole warps.
template <bool fixed_point, class Index, class T, int N, class Motion, class Grad>
__device__ __forceinline__ void scatter_samples(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                                const StripPixel<opmath<T>, N>& pixel, const Motion& motion,
                                                Grad grad) {
  using S = opmath<T>;
  constexpr int n = channels_of_a_pack<T>;
  SumStrides<Index, N> stride = {{Index(p.sums.stride[3]), Index(p.sums.stride[2])}, Index(p.sums.stride[1])};
  if constexpr (N == 3)
    stride.axis[2] = stride.axis[1] * Index(p.grid.height());  // the slices are consecutive
  const auto sums = GradAccumulator<S>(p.sums).from(strip.image * p.sums.stride[0]);
  for (int first = 0; first < p.channels; first += n) {
    const int count = p.channels - first < n ? p.channels - first : n;
    SlabScatter<Index, S, N, n, fixed_point> scatter(sums.from(first * p.sums.stride[1]), stride);
    walk<n>(p, strip, pixel, motion, first, grad,
            [&](int, const SourceSample<S, N>& sample, const SourceValues<T>& grads) {
              scatter.add(sample.axes, sample.reads, grads.value, count);
            });
    scatter.finish(count);
  }
}

// The gradient with respect to an anchor's motion in normalised coordinates.
template <class Index, class T, int N, class Grad>
__device__ __forceinline__ void pull_anchor(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                            const StripPixel<opmath<T>, N>& pixel,
                                            const math::Affine<opmath<T>, N>& motion, int64_t out,
                                            Grad grad) {
  using S = opmath<T>;
  PullsAlongFirstAxis<S, N> sums{};
  pull_positions<Index>(p, strip, pixel, motion, grad,
                        [&](int step, const math::Point<S, N>& g) { sums.add(g, pixel.z_at(p.grid, step)); });
  const math::Affine<S, N> total = warp_sum(sums.gradient(pixel.z(p.grid)));
  if (threadIdx.x % warp_size == 0) p.grad_motion[out] = total;
}

// The gradient with respect to the background, whose map is affine only in homogeneous coordinates. A pixel
// without a gradient is skipped, because the map may divide by zero there.
template <class Index, class T, int N, class Grad>
__device__ __forceinline__ void pull_background(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                                const StripPixel<opmath<T>, N>& pixel,
                                                const math::Projective<opmath<T>, N>& motion, int64_t out,
                                                Grad grad) {
  using S = opmath<T>;
  const auto background = along_first_axis(projective<N>(p.background, strip.image), pixel.z(p.grid));
  PullsAlongFirstAxis<S, N + 1> sums{};
  pull_positions<Index>(p, strip, pixel, motion, grad, [&](int step, const math::Point<S, N>& g) {
    bool moves = false;
    INTERNET_UNROLL
    for (int a = 0; a < N; ++a) moves = moves || g.axis[a] != 0;
    const S z = pixel.z_at(p.grid, step);
    if (moves) sums.add(math::from_homogeneous_vjp(background.at(z), g), z);
  });
  const math::Projective<S, N> total = warp_sum(sums.gradient(pixel.z(p.grid)));
  if (threadIdx.x % warp_size == 0) p.grad_background[out] = total;
}

// The moments for an anchor's two Gaussians.
template <class T, int N, class Grad>
__device__ __forceinline__ void pull_heat(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                          const StripPixel<opmath<T>, N>& pixel,
                                          const math::HeatMap<opmath<T>, N>& heat_map, int64_t out,
                                          Grad grad) {
  using S = opmath<T>;
  GaussianAlongFirstAxis<S, N> driving(heat_map.driving, pixel.z(p.grid), p.has_covariances);
  GaussianAlongFirstAxis<S, N> source(heat_map.source, pixel.z(p.grid), p.has_covariances);
  S grads[steps_of_a_strip];
#pragma unroll
  for (int step = 0; step < steps_of_a_strip; ++step) {
    grads[step] = pixel.inside && step < strip.steps ? grad(step) : S(0);
  }
#pragma unroll
  for (int step = 0; step < steps_of_a_strip; ++step) {
    const S z = pixel.z_at(p.grid, step);
    driving.add(z, grads[step]);
    source.add(z, -grads[step]);
  }
  const auto of_driving = warp_moments(driving.moments(), p.has_covariances);
  const auto of_source = warp_moments(source.moments(), p.has_covariances);
  if (threadIdx.x % warp_size == 0) p.grad_heat[out] = {of_driving, of_source};
}

// The task for one anchor, or for the background. `grad(i, step)` returns the incoming gradient of the heat
// map (0) and of the channels (1 + c).
template <Task task, class Index, class T, int N, class Grad>
__device__ __forceinline__ void pull(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                     const StripPixel<opmath<T>, N>& pixel, int anchor, Grad grad) {
  constexpr bool fixed_point = task == Task::source_in_fixed_point;
  const int64_t part = strip.image * strip_count(p.grid).of_an_image() + strip.index,
                out = part * (p.anchors - 1) + anchor - 1;
  auto channel = [&](int c, int step) { return grad(1 + c, step); };
  const AnchorMotion<opmath<T>, N>& of_anchor = p.motions[strip.image * p.anchors + anchor];
  if (anchor == 0 && p.backgrounds != nullptr) {
    const auto motion = p.backgrounds[strip.image];
    if constexpr (task != Task::anchors) {
      scatter_samples<fixed_point, Index>(p, strip, pixel, motion, channel);
    } else {
      pull_background<Index>(p, strip, pixel, motion, part, channel);
    }
  } else if constexpr (task != Task::anchors) {
    scatter_samples<fixed_point, Index>(p, strip, pixel, of_anchor.motion, channel);
  } else if (anchor > 0) {
    pull_anchor<Index>(p, strip, pixel, of_anchor.motion, out, channel);
    pull_heat(p, strip, pixel, of_anchor.heat_map, out, [&](int step) { return grad(0, step); });
  }
}

// Brings a chunk's values to shared memory: (values, steps, lane_pitch).
template <class T, int N>
__device__ __forceinline__ void stage(const AnchorFeaturesBackward<T, N>& p, const Strip& strip,
                                      const Chunk& chunk, const T* grad, T* staged) {
  const int values = p.anchors * (1 + p.channels);
  const int64_t step_stride = p.grad_output.stride[2];
  grad += strip.step * step_stride + strip.pixel * values + chunk.first_value;
  const PixelTile tile{.image = 0, .index = 0, .first = 0, .count = strip.count};
  each_value(tile, chunk.values, threadIdx.x, threads_of_a_strip, [&](int, int value, int pixel) {
#pragma unroll
    for (int step = 0; step < steps_of_a_strip; ++step) {
      if (step >= strip.steps) break;
      staged[(value * steps_of_a_strip + step) * lane_pitch<T> + pixel] =
          grad[step * step_stride + pixel * values + value];
    }
  });
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool is_staged, Task task, class Index, class T, int N>
__global__ void __launch_bounds__(threads_of_a_strip, (backward_blocks<Index, T, N>))
    backward_kernel(AnchorFeaturesBackward<T, N> p) {
  using S = opmath<T>;
  T* staged = reinterpret_cast<T*>(shared_memory);
  const Strip strip = strip_of_block(p.grid, blockIdx.x);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const StripPixel<S, N> pixel(p.grid, strip, lane);
  const auto& stride = p.grad_output.stride;
  const T* grad = p.grad_output.data + strip.image * stride[0];
  const T* grad_pixel = computed(grad + pixel.offset(stride + 2));
  for (int first = 0; first < p.anchors; first += p.plan.anchors_at_once) {
    const Chunk chunk = chunk_of(first, p.plan.anchors_at_once, p.anchors, p.channels);
    if constexpr (is_staged) {
      stage(p, strip, chunk, grad, staged);
      __syncthreads();
    }
    if (warp < chunk.count) {
      const int anchor = first + warp, value = warp * (1 + p.channels);
      auto grad_at = [&](int i, int step) {
        if constexpr (is_staged) {
          return widen(staged[((value + i) * steps_of_a_strip + step) * lane_pitch<T> + lane]);
        } else {
          return load(grad_pixel + (Index(chunk.first_value + value + i) * Index(stride[1]) +
                                    Index(step) * Index(stride[2])));
        }
      };
      pull<task, Index>(p, strip, pixel, anchor, grad_at);
    }
    if constexpr (is_staged) __syncthreads();
  }
}

}  // namespace

template <class S, int N>
int64_t anchor_features_parts(const PixelGrid<S, N>& grid) {
  return strip_count(grid).of_an_image();
}

template <class T, int N>
AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>& p) {
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.grad_output.stride, p.anchors * values, p.grid.size);
  return plan(std::min(p.anchors, warps_of_a_strip), 1, staged,
              values * steps_of_a_strip * lane_pitch<T> * sizeof(T));
}

template <class T, int N>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>& p, cudaStream_t stream) {
  const bool short_offsets = fits_32_bits(p, p.grad_output) &&
                             p.channels * p.grid.pixels() < (int64_t(1) << 30);  // the sums are dense
  const auto compute = [&](auto task) {
    constexpr Task of = decltype(task)::value;
    const auto with_offsets = [&](auto offset) {
      using Index = decltype(offset);
      return launch_strips(p.plan.tile.staged ? backward_kernel<true, of, Index, T, N>
                                              : backward_kernel<false, of, Index, T, N>,
                           p, stream);
    };
    return short_offsets ? with_offsets(int32_t()) : with_offsets(int64_t());
  };
  if (p.to_anchors) {
    const cudaError_t status = compute(std::integral_constant<Task, Task::anchors>());
    if (status != cudaSuccess) return status;
  }
  if (p.sums.data == nullptr) return cudaSuccess;
  return p.sums.scale == nullptr ? compute(std::integral_constant<Task, Task::source>())
                                 : compute(std::integral_constant<Task, Task::source_in_fixed_point>());
}

#define INSTANTIATE_PARTS(S, N) template int64_t anchor_features_parts(const PixelGrid<S, N>&);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PARTS)

#define INSTANTIATE(T, N)                                                 \
  template AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>&); \
  template cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
