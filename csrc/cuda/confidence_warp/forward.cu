// Warping, forward. A sample's position and weights are computed once and serve all channels; every value of
// the output is written once, and every value of the features is read from DRAM once.
//
// With the channels of a pixel side by side (channels_last), each thread first prepares the sample of one
// pixel of the block's tile in shared memory; then as many lanes as a pixel has vectors, at most a warp,
// compute pixel after pixel, 16 bytes per lane. Otherwise a thread computes one pixel, plane after plane.
#include "cuda/confidence_warp/pixels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/own_pixel.h"

namespace internet::cuda {
namespace {

constexpr int64_t layer_channels = 32;  // of planes: enough to amortise the computation of the samples
constexpr int planes_at_once = 4;       // this many times four loads are in flight
constexpr int pixels_at_once = 2;       // likewise

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool plain, class T>
constexpr int least_blocks = sizeof(T) == 8 || !plain ? 6 : 8;

template <bool plain, class T>
__global__ void __launch_bounds__(threads, least_blocks<plain, T>) pixels_kernel(ConfidenceWarp<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>;
  __shared__ BilinearSample<S> samples[threads];
  __shared__ S rest[plain ? 1 : threads];  // 1 - M
  const auto tiles = tiles_of<PixelTiles>(p.motion, 1);
  const auto [tile, own] = own_pixel(tiles);
  BilinearSample<S> own_sample{};
  if (own.inside) {
    const PixelMotion<S> motion = motion_at<plain>(p.motion, tile.image, own.row, own.column);
    own_sample = sample_of(p.motion, motion);
    if constexpr (!plain) rest[threadIdx.x] = 1 - motion.confidence;
  }
  samples[threadIdx.x] = own_sample;
  __syncthreads();
  const int lanes = lanes_for(p.channels / N), group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  const int groups = threads / lanes;
  const T* features = p.features.data + tile.image * p.features.stride[0];
  const T* blend = p.blend.data + tile.image * p.blend.stride[0];
  T* output = p.output.data + tile.image * p.output.stride[0];
  for (int first = group; first < threads; first += pixels_at_once * groups) {
    for (int64_t c = lane * N; c < p.channels; c += lanes * N) {
      math::Corners<Loaded<T, N>> value[pixels_at_once];
#pragma unroll
      for (int k = 0; k < pixels_at_once; ++k) {
        const int i = first + k * groups;
        if (i >= threads || !samples[i].reads) continue;
        const T* nw = features + c;
        const auto at = footprint(samples[i], p.features.stride).corners();
        value[k] = {load_packed<N>(nw + at.nw), load_packed<N>(nw + at.ne), load_packed<N>(nw + at.sw),
                    load_packed<N>(nw + at.se)};
      }
#pragma unroll
      for (int k = 0; k < pixels_at_once; ++k) {
        const int i = first + k * groups;
        if (i >= threads) continue;
        const TilePixel pixel = tile_pixel(tiles, tile, i);
        if (!pixel.inside) continue;
        Values<S, N> sum{};
        if (samples[i].reads) {
          const auto weights = samples[i].weights;
          sum.add(weights.nw, widen(value[k].nw));
          sum.add(weights.ne, widen(value[k].ne));
          sum.add(weights.sw, widen(value[k].sw));
          sum.add(weights.se, widen(value[k].se));
        }
        if (!plain && p.blend.data != nullptr) {
          const T* added = blend + pixel.row * p.blend.stride[2] + pixel.column * p.blend.stride[3] + c;
          sum.add(rest[i], load<N>(added));
        }
        store<N>(output + pixel.row * p.output.stride[2] + pixel.column * p.output.stride[3] + c, sum);
      }
    }
  }
}

template <bool plain, class T>
__global__ void __launch_bounds__(threads) planes_kernel(ConfidenceWarp<T> p) {
  using S = opmath<T>;
  const auto [tile, pixel] = own_pixel(tiles_of<PlaneTiles>(p.motion, ceiling(p.channels, layer_channels)));
  if (!pixel.inside) return;
  const PixelMotion<S> motion = motion_at<plain>(p.motion, tile.image, pixel.row, pixel.column);
  const BilinearSample<S> s = sample_of(p.motion, motion);
  const auto at = footprint(s, p.features.stride).corners();
  const auto [first, count] = layer_of(tile, p.channels, layer_channels);
  const int64_t stride = p.features.stride[1], out_stride = p.output.stride[1];
  const T* plane = channel_at(p.features, tile.image, first);
  T* out = pixel_at(p.output, tile.image, first, pixel);
  const T* added = pixel_at(p.blend, tile.image, first, pixel);
  // What a sample loads without reading the image is discarded.
  auto next = [&](auto at_once) {
    constexpr int planes = decltype(at_once)::value;
    math::Corners<S> value[planes];
#pragma unroll
    for (int k = 0; k < planes; ++k, plane += stride) {
      value[k] = {load(plane + at.nw), load(plane + at.ne), load(plane + at.sw), load(plane + at.se)};
    }
#pragma unroll
    for (int k = 0; k < planes; ++k, out += out_stride) {
      S sum = s.reads ? math::weighted_sum(s.weights, value[k]) : S(0);
      if (!plain && p.blend.data != nullptr) {
        sum += (1 - motion.confidence) * load(added);
        added += p.blend.stride[1];
      }
      *out = narrow<T>(sum);
    }
  };
  int c = 0;
  for (; c + planes_at_once <= count; c += planes_at_once) next(Constant<planes_at_once>());
  for (; c < count; ++c) next(Constant<1>());
}

}  // namespace

template <class T>
cudaError_t confidence_warp(const ConfidenceWarp<T>& p, bool vectors, cudaStream_t stream) {
  const bool plain = is_plain(p.motion) && p.blend.data == nullptr;
  if (vectors) {
    auto kernel = plain ? pixels_kernel<true, T> : pixels_kernel<false, T>;
    return launch(kernel, tiles_of<PixelTiles>(p.motion, 1).count(), threads, 0, stream, p);
  }
  const int64_t layers = ceiling(p.channels, layer_channels);
  auto kernel = plain ? planes_kernel<true, T> : planes_kernel<false, T>;
  return launch(kernel, tiles_of<PlaneTiles>(p.motion, layers).count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) template cudaError_t confidence_warp(const ConfidenceWarp<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
