// A thread computes one pixel, anchor by anchor: neighbouring threads sample neighbouring pixels of the
// source, which the cache then holds for all of them. In a contiguous output (or incoming gradient) their
// pixels are neighbours, too. In a channels_last one, the (K+1)(1+C) values of a pixel lie side by side:
// those of a chunk of anchors are staged in shared memory, so that a warp writes (or reads) them from end to
// end.
#include "cuda/anchor_features/chunks.h"
#include "cuda/anchor_features/gaussians.h"
#include "cuda/anchor_features/samples.h"
#include "cuda/runtime/instantiate.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class Index, class T, int N>
constexpr int forward_blocks = sizeof(T) == 8 || burdens<Index, T, N> > 1 ? 2 : 4 - burdens<Index, T, N>;

// Calls put(value, x) for every value of one anchor at one pixel: the heat map, then the channels.
template <class Index, class T, int N, class Put>
INTERNET_HD void anchor_values(const AnchorFeaturesForward<T, N>& p, int64_t image, int anchor,
                               const Position<opmath<T>, N>& pixel, Put put) {
  using S = opmath<T>;
  const SourceSample<S, N> sample = source_sample(p, image, anchor, pixel);
  S heat = 0;
  if (anchor > 0) {
    const math::HeatMap<S, N> heat_map = p.motions[image * p.anchors + anchor].heat_map;
    heat = gaussian_at(pixel.z, heat_map.driving, p.has_covariances) -
           gaussian_at(pixel.z, heat_map.source, p.has_covariances);
  }
  put(0, heat);
  if (!sample.reads) {
    for (int c = 0; c < p.channels; ++c) put(1 + c, S(0));
    return;
  }
  each_channel<N, Index>(p.source, image, p.channels, sample, [&](int c, const math::Corners<S, N>& pixels) {
    put(1 + c, math::blend(pixels, sample.axes));
  });
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <class Index, class T, int N>
__global__ void __launch_bounds__(threads_of_a_block, (forward_blocks<Index, T, N>))
    forward_kernel(AnchorFeaturesForward<T, N> p) {
  using S = opmath<T>;
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan.tile, blockIdx.x);
  const int thread = threadIdx.x, values = p.anchors * (1 + p.channels);
  const bool inside = thread < tile.count;
  const Position<S, N> pixel = position(p.grid, tile.first + (inside ? thread : 0));
  const auto& stride = p.output.stride;
  T* out = p.output.data + tile.image * stride[0];
  if (!p.plan.tile.staged) {
    out += pixel.offset(stride + 2);
    for (int k = 0; inside && k < p.anchors; ++k) {
      const Index first = k * (1 + p.channels);
      anchor_values<Index>(p, tile.image, k, pixel,
                           [&](int value, S x) { out[(first + value) * Index(stride[1])] = narrow<T>(x); });
    }
    return;
  }
  T* staged = reinterpret_cast<T*>(shared_memory);
  out += tile.first * values;
  for (int first = 0; first < p.anchors; first += p.plan.anchors_at_once) {
    const Chunk chunk = chunk_of(first, p.plan.anchors_at_once, p.anchors, p.channels);
    for (int k = 0; inside && k < chunk.count; ++k) {
      T* to = staged + k * (1 + p.channels) * pitch<T> + thread;
      anchor_values<Index>(p, tile.image, chunk.first + k, pixel,
                           [&](int value, S x) { to[value * pitch<T>] = narrow<T>(x); });
    }
    __syncthreads();
    each_value(tile, chunk.values, thread, threads_of_a_block, [&](int, int value, int pixel) {
      out[pixel * values + chunk.first_value + value] = staged[value * pitch<T> + pixel];
    });
    __syncthreads();
  }
}

}  // namespace

template <class T, int N>
AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>& p) {
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.output.stride, p.anchors * values, p.grid.size);
  return plan(p.anchors, staged, 0, 0, values * pitch<T> * sizeof(T));
}

template <class T, int N>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>& p, cudaStream_t stream) {
  auto kernel = fits_32_bits(p, p.output) ? forward_kernel<int32_t, T, N> : forward_kernel<int64_t, T, N>;
  return launch_tiles(kernel, p, stream);
}

#define INSTANTIATE(T, N)                                               \
  template AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>&); \
  template cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
