// A block has a strip of pixels (strips.h), and its warps share the anchors: neighbouring lanes sample
// neighbouring pixels of the source, which the cache then holds for all of them. In a contiguous output their
// pixels are neighbours, too. In a channels_last one, the (K+1)(1+C) values of a pixel lie side by side:
// those of some steps are staged in shared memory, so that they are written from end to end.
#include "cuda/anchor_features/chunks.h"
#include "cuda/anchor_features/samples.h"
#include "cuda/anchor_features/strips.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/pointers.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool is_staged, class Index, class T, int N>
constexpr int forward_blocks = sizeof(T) == 8 || sizeof(Index) == 8 ? 2 : (N == 2 ? 7 : 5) - is_staged;

// Calls put(step, value, x) for the values of one anchor at the pixels of a lane's walk: the heat map, then
// the channels.
template <class Index, class T, int N, class Motion, class Put>
__device__ __forceinline__ void anchor_values(const AnchorFeaturesForward<T, N>& p, const Strip& strip,
                                              const StripPixel<opmath<T>, N>& pixel, const Motion& motion,
                                              const math::HeatMap<opmath<T>, N>* heat_map, int first_step,
                                              int steps, Put put) {
  using S = opmath<T>;
  constexpr int n = channels_of_a_pack<T>;
  const auto along = along_first_axis(motion, pixel.at);
  const T* image = computed(p.source.data + strip.image * p.source.image_stride);
#pragma unroll 1
  for (int step = first_step; step < first_step + steps; ++step) {
    const SourceSample<S, N> sample = source_sample<N>(along, pixel.at.axis[N - 1] + S(step), p.grid);
    const auto at = corners<Index>(sample, p.grid);
    const auto weights = math::corner_weights<N>(sample.axes);
    const T* packs = image;
    for (int first = 0; first < p.channels; first += n, packs += p.source.pixels * n) {
      SourceValues<T> values{};
      add_weighted<T>(values, weights, read(packs, at));
#pragma unroll
      for (int c = 0; c < n; ++c) {
        if (first + c < p.channels) put(step, 1 + first + c, sample.reads ? values.value[c] : S(0));
      }
    }
  }
  if (heat_map == nullptr) {
    for (int step = first_step; step < first_step + steps; ++step) put(step, 0, S(0));
    return;
  }
  const GaussianAlongFirstAxis<S, N> driving(heat_map->driving, pixel.z(p.grid), p.has_covariances);
  const GaussianAlongFirstAxis<S, N> source(heat_map->source, pixel.z(p.grid), p.has_covariances);
#pragma unroll 1
  for (int step = first_step; step < first_step + steps; ++step) {
    const S z = pixel.z_at(p.grid, step);
    put(step, 0, math::gaussian_value(driving.exponent_at(z)) - math::gaussian_value(source.exponent_at(z)));
  }
}

// The same for an anchor by its number, or the background.
template <class Index, class T, int N, class Put>
__device__ __forceinline__ void values_of(const AnchorFeaturesForward<T, N>& p, const Strip& strip,
                                          const StripPixel<opmath<T>, N>& pixel, int anchor, int first_step,
                                          int steps, Put put) {
  using S = opmath<T>;
  const AnchorMotion<S, N>& of_anchor = p.motions[strip.image * p.anchors + anchor];
  const math::HeatMap<S, N>* heat_map = anchor == 0 ? nullptr : &of_anchor.heat_map;
  if (anchor == 0 && p.backgrounds != nullptr) {
    anchor_values<Index>(p, strip, pixel, p.backgrounds[strip.image], heat_map, first_step, steps, put);
  } else {
    anchor_values<Index>(p, strip, pixel, of_anchor.motion, heat_map, first_step, steps, put);
  }
}

// Writes the values of a chunk, staged as (steps, pixels, values), of one step.
template <class T>
__device__ __forceinline__ void write(const Chunk& chunk, int count, int values, const T* staged, T* out) {
  constexpr int n = 16 / sizeof(T);
  if (chunk.values == values && reinterpret_cast<uintptr_t>(out) % 16 == 0 && count * values % n == 0) {
    for (int i = threadIdx.x * n; i < count * values; i += threads_of_a_strip * n) {
      *reinterpret_cast<uint4*>(out + i) = *reinterpret_cast<const uint4*>(staged + i);
    }
    return;
  }
  const PixelTile tile{.image = 0, .index = 0, .first = 0, .count = count};
  each_value(tile, chunk.values, threadIdx.x, threads_of_a_strip, [&](int offset, int value, int pixel) {
    out[pixel * values + chunk.first_value + value] = staged[offset];
  });
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool is_staged, class Index, class T, int N>
__global__ void __launch_bounds__(threads_of_a_strip, (forward_blocks<is_staged, Index, T, N>))
    forward_kernel(AnchorFeaturesForward<T, N> p) {
  using S = opmath<T>;
  const Strip strip = strip_of_block(p.grid, blockIdx.x);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const StripPixel<S, N> pixel(p.grid, strip, lane);
  const auto& stride = p.output.stride;
  T* out = p.output.data + strip.image * stride[0];
  if constexpr (!is_staged) {
    out = computed(out + pixel.offset(stride + 2));
    for (int k = warp; pixel.inside && k < p.anchors; k += warps_of_a_strip) {
      T* first = computed(out + k * (1 + p.channels) * stride[1]);
      values_of<Index>(p, strip, pixel, k, 0, strip.steps, [&](int step, int value, S x) {
        first[step * Index(stride[2]) + value * Index(stride[1])] = narrow<T>(x);
      });
    }
    return;
  }
  T* staged = reinterpret_cast<T*>(shared_memory);
  const int values = p.anchors * (1 + p.channels);
  out += strip.step * stride[2] + strip.pixel * values;
  for (int from = 0; from < strip.steps; from += p.plan.steps_at_once) {
    const int steps = min(p.plan.steps_at_once, strip.steps - from);
    for (int first = 0; first < p.anchors; first += p.plan.anchors_at_once) {
      const Chunk chunk = chunk_of(first, p.plan.anchors_at_once, p.anchors, p.channels);
      for (int k = warp; pixel.inside && k < chunk.count; k += warps_of_a_strip) {
        T* to = staged + lane * chunk.values + k * (1 + p.channels);
        values_of<Index>(p, strip, pixel, first + k, from, steps, [&](int step, int value, S x) {
          to[(step - from) * warp_size * chunk.values + value] = narrow<T>(x);
        });
      }
      __syncthreads();
      for (int step = 0; step < steps; ++step) {
        write(chunk, strip.count, values, staged + step * warp_size * chunk.values,
              out + (from + step) * stride[2]);
      }
      __syncthreads();
    }
  }
}

}  // namespace

template <class T, int N>
AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>& p) {
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.output.stride, p.anchors * values, p.grid.size);
  return plan(p.anchors, steps_of_a_strip, staged, warp_size * values * sizeof(T));
}

template <class T, int N>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>& p, cudaStream_t stream) {
  const auto with_offsets = [&](auto offset) {
    using Index = decltype(offset);
    return launch_strips(
        p.plan.tile.staged ? forward_kernel<true, Index, T, N> : forward_kernel<false, Index, T, N>, p,
        stream);
  };
  return fits_32_bits(p, p.output) ? with_offsets(int32_t()) : with_offsets(int64_t());
}

#define INSTANTIATE(T, N)                                               \
  template AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>&); \
  template cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
