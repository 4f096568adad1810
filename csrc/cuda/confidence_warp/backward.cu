// Warping, backward. Both gradients are computed like the output, with the same two assignments of threads.
//
// For the motion: an output pixel's gradient has four dot products with the features that the pixel reads.
// For the features: each pixel gathers the gradients of the output pixels that read it
// (sampling_transpose.h). The blend's gradient is in blend.cu.
#include "cuda/confidence_warp/pixels.h"
#include "cuda/confidence_warp/sampling_transpose.h"
#include "cuda/confidence_warp/tile_readers.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/own_pixel.h"

namespace internet::cuda {
namespace {

constexpr int64_t motion_layer = 64;   // channels of planes that share the computation of the samples
constexpr int64_t feature_layer = 64;  // channels of planes that share the readers
constexpr int planes_at_once = 4;
constexpr int readers_at_once = 4;  // usually all of them

template <class T>
INTERNET_HD ReaderTiles reader_tiles(const WarpFeaturesBackward<T>& p, int64_t layers) {
  return {p.images, layers, p.height, p.width};
}

// The reader lists of the pixels of a tile; all layers share them.
template <class T>
__device__ __forceinline__ const Readers* lists_of(const WarpFeaturesBackward<T>& p, const ReaderTiles& tiles,
                                                   const Tile& tile) {
  const int64_t line = tile.image * tiles.down() + tile.row / ReaderTiles::height;
  return p.lists + (line * tiles.across() + tile.column / ReaderTiles::width) * ReaderTiles::pixels;
}

// Stores a pixel's gradient with respect to the motion at full resolution, computed from its dot products.
template <bool plain, class T, class S = opmath<T>>
__device__ __forceinline__ void store_motion(const WarpMotionBackward<T>& p, const Tile& tile,
                                             const TilePixel& pixel, const PixelMotion<S>& motion,
                                             const math::Corners<S>& dots) {
  const SampledMotion<S>& m = p.motion;
  const S width = S(m.width), height = S(m.height);
  const auto x = math::axis(motion.x, width, m.border), y = math::axis(motion.y, height, m.border);
  const auto g =
      math::motion_gradient(x, y, motion.confidence, dots, math::pixels_per_unit(width, m.align_corners),
                            math::pixels_per_unit(height, m.align_corners));
  const int maps = m.confidence.data == nullptr ? 2 : 3;
  const int64_t image = m.height * m.width, map = m.batch * image;
  const int64_t pixel_index = tile.image * image + pixel.row * m.width + pixel.column;
  S* out = p.grad_motion + tile.layer * maps * map + pixel_index;
  out[0] = g.x;
  out[map] = g.y;
  if (maps < 3) return;
  const bool subtracts = !plain && p.blend_dots != nullptr && tile.layer == 0;
  out[2 * map] = subtracts ? g.confidence - p.blend_dots[pixel_index] : g.confidence;
}

// The sums of four numbers over a group of lanes: lanes 0, 1, 2, 3 of every four get one sum each. Lanes
// exchange the halves that they do not keep, which takes few shuffles.
template <class S>
__device__ __forceinline__ S quarter_sum(const math::Corners<S>& d, int lanes) {
  const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
  const S north = (odd ? d.ne : d.nw) + __shfl_xor_sync(~0u, odd ? d.nw : d.ne, 1);
  const S south = (odd ? d.se : d.sw) + __shfl_xor_sync(~0u, odd ? d.sw : d.se, 1);
  S sum = (upper ? south : north) + __shfl_xor_sync(~0u, upper ? north : south, 2);
  for (int offset = 4; offset < lanes; offset *= 2) sum += __shfl_xor_sync(~0u, sum, offset);
  return sum;
}

// A group of lanes computes as many pixels as it has lanes, one after the other; each thread then finishes
// the pixel whose sample it prepared.
template <bool plain, class T>
__global__ void __launch_bounds__(threads) motion_pixels_kernel(WarpMotionBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>;
  __shared__ BilinearSample<S> samples[threads];
  __shared__ S dots[4 * threads];
  const auto tiles = tiles_of<PixelTiles>(p.motion, 1);
  const auto [tile, own] = own_pixel(tiles);
  PixelMotion<S> motion{};
  BilinearSample<S> own_sample{};
  if (own.inside) {
    motion = motion_at<plain>(p.motion, tile.image, own.row, own.column);
    own_sample = sample_of(p.motion, motion);
  }
  samples[threadIdx.x] = own_sample;
  __syncwarp();
  const int lanes = lanes_for(p.channels / N), lane = threadIdx.x % lanes, first = threadIdx.x - lane;
  const T* features = p.features.data + tile.image * p.features.stride[0];
  const T* gradient = p.grad_output.data + tile.image * p.grad_output.stride[0];
#pragma unroll 2
  for (int i = first; i < first + lanes; ++i) {
    const BilinearSample<S> s = samples[i];
    const TilePixel pixel = tile_pixel(tiles, tile, i);
    math::Corners<S> d{};
    if (s.reads) {
      const auto at = footprint(s, p.features.stride).corners();
      const T* g_at = gradient + pixel.row * p.grad_output.stride[2] + pixel.column * p.grad_output.stride[3];
      for (int64_t c = lane * N; c < p.channels; c += lanes * N) {
        const auto loaded = load_packed<N>(g_at + c);
        const auto nw = load_packed<N>(features + at.nw + c), ne = load_packed<N>(features + at.ne + c);
        const auto sw = load_packed<N>(features + at.sw + c), se = load_packed<N>(features + at.se + c);
        const auto g = widen(loaded);
        math::add_scaled(d, S(1), {g.dot(widen(nw)), g.dot(widen(ne)), g.dot(widen(sw)), g.dot(widen(se))});
      }
    }
    if (lanes >= 4) {
      const S sum = quarter_sum(d, lanes);
      if (lane < 4) dots[4 * i + lane] = sum;
    } else {
      d = {group_sum(d.nw, lanes), group_sum(d.ne, lanes), group_sum(d.sw, lanes), group_sum(d.se, lanes)};
      if (lane == 0)
        dots[4 * i] = d.nw, dots[4 * i + 1] = d.ne, dots[4 * i + 2] = d.sw, dots[4 * i + 3] = d.se;
    }
  }
  __syncwarp();
  const S* d = dots + 4 * threadIdx.x;
  if (own.inside) store_motion<plain>(p, tile, own, motion, {d[0], d[1], d[2], d[3]});
}

template <bool plain, class T>
__global__ void __launch_bounds__(threads) motion_planes_kernel(WarpMotionBackward<T> p) {
  using S = opmath<T>;
  const auto [tile, pixel] = own_pixel(tiles_of<PlaneTiles>(p.motion, ceiling(p.channels, motion_layer)));
  if (!pixel.inside) return;
  const PixelMotion<S> motion = motion_at<plain>(p.motion, tile.image, pixel.row, pixel.column);
  const BilinearSample<S> s = sample_of(p.motion, motion);
  const auto from = footprint(s, p.features.stride).corners();
  const Layer layer = layer_of(tile, p.channels, motion_layer);
  const int count = s.reads ? layer.count : 0;
  const int64_t stride = p.features.stride[1], grad_stride = p.grad_output.stride[1];
  const T* plane = channel_at(p.features, tile.image, layer.first);
  const T* gradient = pixel_at(p.grad_output, tile.image, layer.first, pixel);
  math::Corners<S> dots{};
  auto next = [&](auto at_once) {
    constexpr int planes = decltype(at_once)::value;
    math::Corners<S> value[planes];
    S g[planes];
#pragma unroll
    for (int k = 0; k < planes; ++k, plane += stride, gradient += grad_stride) {
      g[k] = load(gradient);
      value[k] = {load(plane + from.nw), load(plane + from.ne), load(plane + from.sw), load(plane + from.se)};
    }
#pragma unroll
    for (int k = 0; k < planes; ++k) math::add_scaled(dots, g[k], value[k]);
  };
  constexpr int most = plain || sizeof(S) < 8 ? planes_at_once : 2;  // more would spill
  int c = 0;
  for (; c + most <= count; c += most) next(Constant<most>());
  for (; c < count; ++c) next(Constant<1>());
  store_motion<plain>(p, tile, pixel, motion, dots);
}

// How many channels a block of the next kernel computes: as many as its lanes hold at once.
template <class T>
INTERNET_HD int64_t vector_layer(int64_t channels) {
  return lanes_for(channels / warp_vector<T>) * warp_vector<T>;
}

// As in the forward pass, a group of lanes computes pixel after pixel.
template <class T>
__global__ void __launch_bounds__(ReaderTiles::pixels, 4) feature_pixels_kernel(WarpFeaturesBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>, threads = ReaderTiles::pixels;
  __shared__ TileReaders<S> staged;
  const int64_t layer = vector_layer<T>(p.channels);
  const auto tiles = reader_tiles(p, ceiling(p.channels, layer));
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const Reader<S>* tile_readers = stage_readers(lists_of(p, tiles, tile), p.readers, staged);
  const int lanes = int(layer / N), group = threadIdx.x / lanes;
  const int64_t image = p.first_image + tile.image, c = tile.layer * layer + threadIdx.x % lanes * N;
  if (c >= p.channels) return;
  const T* gradient = p.grad_output.data + image * p.grad_output.stride[0] + c;
  T* features = p.grad_features.data + image * p.grad_features.stride[0] + c;
  for (int i = group; i < threads; i += threads / lanes) {
    const TilePixel pixel = tile_pixel(tiles, tile, i);
    if (!pixel.inside) continue;
    const Reader<S>* readers = tile_readers + staged.begin[i];
    const int all = staged.count[i];
    Values<S, N> sum{};
    for (int first = 0; first < all; first += readers_at_once) {
      Reader<S> reader[readers_at_once];
      Loaded<T, N> g[readers_at_once];
#pragma unroll
      for (int k = 0; k < readers_at_once; ++k) {
        if (first + k >= all) continue;
        reader[k] = readers[first + k];
        g[k] = load_packed<N>(gradient + p.place(reader[k].pixel));
      }
#pragma unroll
      for (int k = 0; k < readers_at_once; ++k) {
        if (first + k < all) sum.add(reader[k].weight, widen(g[k]));
      }
    }
    store<N>(features + pixel.row * p.grad_features.stride[2] + pixel.column * p.grad_features.stride[3],
             sum);
  }
}

template <class T>
__global__ void __launch_bounds__(ReaderTiles::pixels) feature_planes_kernel(WarpFeaturesBackward<T> p) {
  using S = opmath<T>;
  __shared__ TileReaders<S> staged;
  const auto tiles = reader_tiles(p, ceiling(p.channels, feature_layer));
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const Reader<S>* tile_readers = stage_readers(lists_of(p, tiles, tile), p.readers, staged);
  const TilePixel pixel = tile_pixel(tiles, tile, threadIdx.x);
  if (!pixel.inside) return;
  const Reader<S>* readers = tile_readers + staged.begin[threadIdx.x];
  const int all = staged.count[threadIdx.x];
  const int64_t image = p.first_image + tile.image;
  const Layer layer = layer_of(tile, p.channels, feature_layer);
  const int channels = layer.count;
  const int64_t stride = p.grad_output.stride[1], out_stride = p.grad_features.stride[1];
  const T* gradient = channel_at(p.grad_output, image, layer.first);
  T* out = pixel_at(p.grad_features, image, layer.first, pixel);
  auto next = [&](auto at_once) {
    constexpr int planes = decltype(at_once)::value;
    S sum[planes] = {};
    for (int i = 0; i < all; ++i) {
      const Reader<S> reader = readers[i];
      const T* g = gradient + p.place(reader.pixel);
#pragma unroll
      for (int k = 0; k < planes; ++k) sum[k] += reader.weight * load(g + k * stride);
    }
#pragma unroll
    for (int k = 0; k < planes; ++k, out += out_stride) *out = narrow<T>(sum[k]);
    gradient += planes * stride;
  };
  int c = 0;
  constexpr int most = sizeof(S) == 8 ? 8 : 16;
  for (; c + most <= channels; c += most) next(Constant<most>());
  for (; c + 4 <= channels; c += 4) next(Constant<4>());
  for (; c < channels; ++c) next(Constant<1>());
}

}  // namespace

int64_t warp_motion_backward_layers(int64_t channels, bool vectors) {
  return vectors ? (channels > 0) : ceiling(channels, motion_layer);
}

template <class T>
cudaError_t warp_motion_backward(const WarpMotionBackward<T>& p, bool vectors, cudaStream_t stream) {
  const int64_t layers = warp_motion_backward_layers(p.channels, vectors);
  const bool plain = is_plain(p.motion) && p.blend_dots == nullptr;
  if (vectors) {
    auto kernel = plain ? motion_pixels_kernel<true, T> : motion_pixels_kernel<false, T>;
    return launch(kernel, tiles_of<PixelTiles>(p.motion, layers).count(), threads, 0, stream, p);
  }
  auto kernel = plain ? motion_planes_kernel<true, T> : motion_planes_kernel<false, T>;
  return launch(kernel, tiles_of<PlaneTiles>(p.motion, layers).count(), threads, 0, stream, p);
}

template <class T>
cudaError_t warp_features_backward(const WarpFeaturesBackward<T>& p, bool vectors, cudaStream_t stream) {
  const int64_t layers = ceiling(p.channels, vectors ? vector_layer<T>(p.channels) : feature_layer);
  auto kernel = vectors ? feature_pixels_kernel<T> : feature_planes_kernel<T>;
  return launch(kernel, reader_tiles(p, layers).count(), ReaderTiles::pixels, 0, stream, p);
}

#define INSTANTIATE(T)                                                                         \
  template cudaError_t warp_motion_backward(const WarpMotionBackward<T>&, bool, cudaStream_t); \
  template cudaError_t warp_features_backward(const WarpFeaturesBackward<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
