// Warping, backward: as forward, the sample of a pixel is set up once for all channels, and gradient and
// features are read once. For the motion they give four dot products a pixel; for the features the gradient
// of each output pixel goes to four sums.
//
// Neighbouring output pixels mostly sample neighbouring pixels, so that two of the four sums are those of the
// next output pixel too. What they get is added up in registers first: half as many atomics. With vectors of
// channels the same lanes do one pixel of a row after the other and keep what has not moved on; with planes
// the lanes of a warp are the pixels of a row, and hand theirs on to the right.
#include "confidence_warp.h"
#include "gradient_adder.h"
#include "lanes.h"
#include "launch.h"
#include "row_gifts.h"
#include "sampled_motion.h"
#include "tiles.h"

namespace internet::cuda {
namespace {

constexpr int threads = 128;
using PixelTiles = Tiles<16, 8>;
using PlaneTiles = Tiles<warp_size, threads / warp_size>;
static_assert(PixelTiles::pixels == threads && PlaneTiles::pixels == threads);

constexpr int pixels_blocks = 5;  // a multiprocessor; six, which ptxas aims at by itself, make it spill
constexpr int64_t layer_channels = 64;

template <class Tiles, class T>
INTERNET_HD Tiles tiles_of(const ConfidenceWarpBackward<T>& p, int64_t layers) {
  return {p.pass.images, layers, p.motion.height, p.motion.width};
}

template <class T>
INTERNET_HD const T* first_plane(const Strided<const T, 4>& all, const ScatterPass& pass, int64_t image) {
  return all.data + (pass.first_image + image) * all.stride[0] + pass.first_channel * all.stride[1];
}

// A pixel's gradient by the motion at full resolution, from its dot products.
template <class T, class S = opmath<T>>
__device__ __forceinline__ void store_motion(const ConfidenceWarpBackward<T>& p, const Tile& tile,
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
  S* out = p.grad_motion + (p.first_layer + tile.layer) * maps * map +
           (p.pass.first_image + tile.image) * image + pixel.row * m.width + pixel.column;
  out[0] = g.x;
  out[map] = g.y;
  if (maps == 3) out[2 * map] = g.confidence;
}

// What a row of samples gives to the sums, not yet handed over: to the four pixels of the latest sample.
template <class S, int N>
class PendingGifts {
 public:
  __device__ __forceinline__ PendingGifts(const GradientAdder<S>& adder, const int64_t* stride)
      : adder_(adder), stride_(stride) {}

  __device__ __forceinline__ void give(const BilinearSample<S>& s, const Values<S, N>& gradient) {
    const bool same_rows = s.row == row_ && s.south == south_;
    if (!same_rows || s.column != column_ || s.east != east_) {
      if (same_rows && east_ && s.column == column_ + 1) {
        hand_over(column_, west_north_, west_south_);
        west_north_ = east_north_;
        west_south_ = east_south_;
        east_north_ = east_south_ = {};
      } else {
        hand_over_all();
        west_north_ = west_south_ = east_north_ = east_south_ = {};
      }
      row_ = s.row, column_ = s.column, south_ = s.south, east_ = s.east;
    }
    west_north_.add(s.weights.nw, gradient);
    west_south_.add(s.weights.sw, gradient);
    east_north_.add(s.weights.ne, gradient);
    east_south_.add(s.weights.se, gradient);
  }

  __device__ __forceinline__ void hand_over_all() const {
    if (row_ < 0) return;
    hand_over(column_, west_north_, west_south_);
    if (east_) hand_over(column_ + 1, east_north_, east_south_);
  }

 private:
  __device__ __forceinline__ void hand_over(int column, const Values<S, N>& north,
                                            const Values<S, N>& south) const {
    const int64_t at = row_ * stride_[2] + column * stride_[3];
    adder_.add(at, north);
    if (south_) adder_.add(at + stride_[2], south);
  }

  GradientAdder<S> adder_;
  const int64_t* stride_;  // of the sums
  int row_ = -1, column_ = 0;
  bool south_ = false, east_ = false;
  Values<S, N> west_north_{}, west_south_{}, east_north_{}, east_south_{};
};

// A group of lanes does as many pixels as it has lanes, one after the other; at the end each lane has the dot
// products of one of them.
template <class T>
__global__ void __launch_bounds__(threads, pixels_blocks) pixels_kernel(ConfidenceWarpBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_backward_vector<T>;
  __shared__ BilinearSample<S> samples[threads];
  const auto tiles = tiles_of<PixelTiles>(p, 1);
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const TilePixel own = tile_pixel(tiles, tile, threadIdx.x);
  PixelMotion<S> motion{};
  BilinearSample<S> own_sample{};
  if (own.inside) {
    motion = motion_at(p.motion, p.pass.first_image + tile.image, own.row, own.column);
    own_sample = sample_of(p.motion, motion);
  }
  samples[threadIdx.x] = own_sample;
  __syncthreads();
  const int lanes = lanes_for(p.pass.channels / N), lane = threadIdx.x % lanes, first = threadIdx.x - lane;
  const T* features = first_plane(p.features, p.pass, tile.image);
  const T* gradient = first_plane(p.grad_output, p.pass, tile.image);
  const bool need_features = p.pass.sums.data != nullptr, need_motion = p.grad_motion != nullptr;
  const auto adder = GradientAdder<S>(p.pass.sums).from(tile.image * p.pass.sums.stride[0]);
  math::Corners<S> dots{};
  for (int64_t block = 0; block < p.pass.channels; block += lanes * N) {
    const int64_t c = block + lane * N;
    PendingGifts<S, N> gifts(adder.from(c), p.pass.sums.stride);
    for (int i = 0; i < lanes; ++i) {
      const BilinearSample<S> s = samples[first + i];
      math::Corners<S> d{};
      if (s.reads && c < p.pass.channels) {
        const TilePixel pixel = tile_pixel(tiles, tile, first + i);
        const auto g = load<N>(gradient + pixel.row * p.grad_output.stride[2] +
                               pixel.column * p.grad_output.stride[3] + c);
        if (need_motion) {
          const auto at = footprint(s, p.features.stride).corners();
          d = {g.dot(load<N>(features + at.nw + c)), g.dot(load<N>(features + at.ne + c)),
               g.dot(load<N>(features + at.sw + c)), g.dot(load<N>(features + at.se + c))};
        }
        if (need_features) gifts.give(s, g);
      }
      if (!need_motion) continue;
      d = {group_sum(d.nw, lanes), group_sum(d.ne, lanes), group_sum(d.sw, lanes), group_sum(d.se, lanes)};
      if (i == lane) math::add_scaled(dots, S(1), d);
    }
    if (need_features) gifts.hand_over_all();
  }
  if (need_motion && own.inside) store_motion(p, tile, own, motion, dots);
}

template <class T>
__global__ void __launch_bounds__(threads) planes_kernel(ConfidenceWarpBackward<T> p) {
  using S = opmath<T>;
  const auto tiles = tiles_of<PlaneTiles>(p, ceiling(p.pass.channels, layer_channels));
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const TilePixel pixel = tile_pixel(tiles, tile, threadIdx.x);
  PixelMotion<S> motion{};
  BilinearSample<S> s{};
  if (pixel.inside) {
    motion = motion_at(p.motion, p.pass.first_image + tile.image, pixel.row, pixel.column);
    s = sample_of(p.motion, motion);
  }
  const HandingOn<S> hand(s);
  const auto from = footprint(s, p.features.stride).corners(),
             to = footprint(s, p.pass.sums.stride).corners();
  const bool need_features = p.pass.sums.data != nullptr, need_motion = p.grad_motion != nullptr;
  const int64_t first = tile.layer * layer_channels, left = p.pass.channels - first;
  const int count = int(left < layer_channels ? left : layer_channels);
  const int64_t stride = p.features.stride[1], grad_stride = p.grad_output.stride[1],
                sum_stride = p.pass.sums.stride[1];
  const T* plane = first_plane(p.features, p.pass, tile.image) + first * stride;
  const T* gradient = first_plane(p.grad_output, p.pass, tile.image) + first * grad_stride +
                      pixel.row * p.grad_output.stride[2] + pixel.column * p.grad_output.stride[3];
  auto adder = GradientAdder<S>(p.pass.sums).from(tile.image * p.pass.sums.stride[0] + first * sum_stride);
  math::Corners<S> dots{};
  for (int c = 0; c < count; ++c) {
    S g = 0;
    if (s.reads) {
      g = load(gradient);
      if (need_motion) {
        math::add_scaled(
            dots, g,
            {load(plane + from.nw), load(plane + from.ne), load(plane + from.sw), load(plane + from.se)});
      }
    }
    if (need_features) give(adder, s, hand, to, g);
    plane += stride;
    gradient += grad_stride;
    adder = adder.from(sum_stride);
  }
  if (need_motion && pixel.inside) store_motion(p, tile, pixel, motion, dots);
}

}  // namespace

int64_t confidence_warp_backward_layers(int64_t channels, bool vectors) {
  return vectors ? (channels > 0) : ceiling(channels, layer_channels);
}

template <class T>
cudaError_t confidence_warp_backward(const ConfidenceWarpBackward<T>& p, bool vectors, cudaStream_t stream) {
  const int64_t layers = confidence_warp_backward_layers(p.pass.channels, vectors);
  if (vectors) {
    return launch(pixels_kernel<T>, tiles_of<PixelTiles>(p, layers).count(), threads, 0, stream, p);
  }
  return launch(planes_kernel<T>, tiles_of<PlaneTiles>(p, layers).count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) \
  template cudaError_t confidence_warp_backward(const ConfidenceWarpBackward<T>&, bool, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
