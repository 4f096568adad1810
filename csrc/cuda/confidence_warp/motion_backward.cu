// Warping, backward: the gradient with respect to the motion. An output pixel's has four dot products, of its
// gradient with the features that the pixel reads. Either they are computed here, like the output, with the
// same two assignments of threads; or they come from the kernels that compute the gradient with respect to
// the features, which read both in any case (features_backward.cu).
#include "cuda/confidence_warp/corner_sums.h"
#include "cuda/confidence_warp/pixels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/own_pixel.h"

namespace internet::cuda {
namespace {

constexpr int64_t motion_layer = 64;  // channels of planes that share the computation of the samples
constexpr int planes_at_once = 4;

// Stores a pixel's gradient with respect to the motion at full resolution, computed from its dot products.
template <bool plain, class S>
__device__ __forceinline__ void store_motion(const MotionGradient<S>& p, const Tile& tile,
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
  S* out = p.data + tile.layer * maps * map + pixel_index;
  out[0] = g.x;
  out[map] = g.y;
  if (maps < 3) return;
  const bool subtracts = !plain && p.blend_dots != nullptr && tile.layer == 0;
  out[2 * map] = subtracts ? g.confidence - p.blend_dots[pixel_index] : g.confidence;
}

// A group of lanes computes as many pixels as it has lanes, one after the other; each thread then finishes
// the pixel whose sample it prepared.
template <bool plain, class T>
__global__ void __launch_bounds__(threads) motion_pixels_kernel(WarpMotionBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>;
  __shared__ BilinearSample<S> samples[threads];
  __shared__ S dots[4 * threads];
  const auto tiles = tiles_of<PixelTiles>(p.gradient.motion, 1);
  const auto [tile, own] = own_pixel(tiles);
  PixelMotion<S> motion{};
  BilinearSample<S> own_sample{};
  if (own.inside) {
    motion = motion_at<plain>(p.gradient.motion, tile.image, own.row, own.column);
    own_sample = sample_of(p.gradient.motion, motion);
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
      d = group_sums(d, lanes);
      if (lane == 0)
        dots[4 * i] = d.nw, dots[4 * i + 1] = d.ne, dots[4 * i + 2] = d.sw, dots[4 * i + 3] = d.se;
    }
  }
  __syncwarp();
  const S* d = dots + 4 * threadIdx.x;
  if (own.inside) store_motion<plain>(p.gradient, tile, own, motion, {d[0], d[1], d[2], d[3]});
}

template <bool plain, class T>
__global__ void __launch_bounds__(threads) motion_planes_kernel(WarpMotionBackward<T> p) {
  using S = opmath<T>;
  const auto [tile, pixel] =
      own_pixel(tiles_of<PlaneTiles>(p.gradient.motion, ceiling(p.channels, motion_layer)));
  if (!pixel.inside) return;
  const PixelMotion<S> motion = motion_at<plain>(p.gradient.motion, tile.image, pixel.row, pixel.column);
  const BilinearSample<S> s = sample_of(p.gradient.motion, motion);
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
  store_motion<plain>(p.gradient, tile, pixel, motion, dots);
}

// A thread an output pixel.
template <bool plain, class S>
__global__ void __launch_bounds__(threads) from_dots_kernel(WarpMotionFromDots<S> p) {
  const SampledMotion<S>& m = p.gradient.motion;
  auto [tile, pixel] = own_pixel(PlaneTiles{p.images, 1, m.height, m.width});
  if (!pixel.inside) return;
  const int64_t index = (tile.image * m.height + pixel.row) * m.width + pixel.column;
  tile.image += p.first_image;
  const PixelMotion<S> motion = motion_at<plain>(m, tile.image, pixel.row, pixel.column);
  const BilinearSample<S> s = sample_of(m, motion);
  math::Corners<S> dots{};
  for (int64_t layer = 0; layer < p.layers && s.reads; ++layer) {
    const CornerDots<S> from = p.dots.from(layer, index);
    auto at = [&](int corner) { return load(&from.at(corner, 0)); };
    const S nw = at(0), ne = s.east ? at(1) : nw, sw = s.south ? at(2) : nw;
    math::add_scaled(dots, S(1), {nw, ne, sw, !s.south ? ne : s.east ? at(3) : sw});
  }
  store_motion<plain>(p.gradient, tile, pixel, motion, dots);
}

}  // namespace

int64_t warp_motion_backward_layers(int64_t channels, bool vectors) {
  return vectors ? (channels > 0) : ceiling(channels, motion_layer);
}

template <class T>
cudaError_t warp_motion_backward(const WarpMotionBackward<T>& p, bool vectors, cudaStream_t stream) {
  const SampledMotion<opmath<T>>& motion = p.gradient.motion;
  const int64_t layers = warp_motion_backward_layers(p.channels, vectors);
  const bool plain = is_plain(motion) && p.gradient.blend_dots == nullptr;
  if (vectors) {
    auto kernel = plain ? motion_pixels_kernel<true, T> : motion_pixels_kernel<false, T>;
    return launch(kernel, tiles_of<PixelTiles>(motion, layers).count(), threads, 0, stream, p);
  }
  auto kernel = plain ? motion_planes_kernel<true, T> : motion_planes_kernel<false, T>;
  return launch(kernel, tiles_of<PlaneTiles>(motion, layers).count(), threads, 0, stream, p);
}

template <class S>
cudaError_t warp_motion_from_dots(const WarpMotionFromDots<S>& p, cudaStream_t stream) {
  const SampledMotion<S>& motion = p.gradient.motion;
  const bool plain = is_plain(motion) && p.gradient.blend_dots == nullptr;
  const int64_t blocks = PlaneTiles{p.images, 1, motion.height, motion.width}.count();
  return launch(plain ? from_dots_kernel<true, S> : from_dots_kernel<false, S>, blocks, threads, 0, stream,
                p);
}

#define INSTANTIATE(T) \
  template cudaError_t warp_motion_backward(const WarpMotionBackward<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)
template cudaError_t warp_motion_from_dots(const WarpMotionFromDots<float>&, cudaStream_t);
template cudaError_t warp_motion_from_dots(const WarpMotionFromDots<double>&, cudaStream_t);

}  // namespace internet::cuda
