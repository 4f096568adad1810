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
// An image's, whose loads then do not wait for each other; of doubles and in volumes, what the registers
// hold.
template <class T, int N>
constexpr int channels_at_once = sizeof(T) == 8 ? 1
                                 : N == 2       ? 3
                                                : 2;

// Of blocks that a multiprocessor holds at once: the registers must do for as many. What takes more of them:
// numbers of 64 bits, wide offsets and a third axis.
template <class Index, class T, int N>
constexpr int burdens = (sizeof(T) == 8) + (sizeof(Index) == 8) + (N == 3);
template <class Index, class T, int N>
constexpr int forward_blocks = sizeof(T) == 8 || burdens<Index, T, N> > 1 ? 2 : 4 - burdens<Index, T, N>;
template <class Index, class T, int N>
constexpr int backward_blocks = burdens<Index, T, N> == 0                    ? 3
                                : sizeof(T) == 8 && burdens<Index, T, N> > 1 ? 1
                                                                             : 2;

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
// the position along x, y and z, in normalised coordinates.
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

// Where a sample reads the source.
template <class S, int N>
struct Footprint {
  math::Axis<S> axes[N];
  bool reads;
};
template <class S, int N, int M>
INTERNET_HD Footprint<S, N> footprint(const math::Affine<S, N, M>& motion, const PixelGrid<S, N>& grid,
                                      const Position<S, N>& pixel) {
  math::Point<S, N> at;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) at.axis[a] = S(pixel.index[N - 1 - a]);
  const math::Point<S, N> t = math::source_pixel<N>(motion.row(at), at.axis[0]);
  Footprint<S, N> f;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) f.axes[a] = math::axis(t.axis[a], S(grid.size[N - 1 - a]), false);
  f.reads = math::reads_image<N>(f.axes);
  return f;
}
// Of an anchor, or the background.
template <class P, class S, int N>
INTERNET_HD Footprint<S, N> footprint(const P& p, int64_t image, int anchor, const Position<S, N>& pixel) {
  if (anchor == 0 && p.backgrounds != nullptr) return footprint(p.backgrounds[image], p.grid, pixel);
  return footprint(p.motions[image * p.anchors + anchor].motion, p.grid, pixel);
}

// A sample's pixels, counted in elements of a channel; `stride`: of each axis, x first.
template <int N, class Index, class S>
INTERNET_HD math::Corners<Index, N> corners(const math::Axis<S>* axes, const Index* stride, Index first = 0) {
  const Index low = first + Index(axes[N - 1].low) * stride[N - 1];
  const Index high = first + Index(axes[N - 1].high) * stride[N - 1];
  if constexpr (N == 2) {
    const Index west = Index(axes[0].low) * stride[0], east = Index(axes[0].high) * stride[0];
    return {low + west, low + east, high + west, high + east};
  } else {
    return {corners<N - 1>(axes, stride, low), corners<N - 1>(axes, stride, high)};
  }
}
template <class T, class Index>
INTERNET_HD math::Corners<opmath<T>> read(const T* plane, const math::Corners<Index>& at) {
  return {widen(plane[at.nw]), widen(plane[at.ne]), widen(plane[at.sw]), widen(plane[at.se])};
}
template <class T, class Index, int N>
INTERNET_HD math::Corners<opmath<T>, N> read(const T* plane, const math::Corners<Index, N>& at) {
  return {read(plane, at.low), read(plane, at.high)};
}

// visit(channel, its pixels) for every channel of a sample.
template <int N, class T, class Index, class Visit>
INTERNET_HD void each_channel(const T* image, Index channel_stride, int channels,
                              const math::Corners<Index, N>& at, Visit visit) {
  constexpr int n = channels_at_once<T, N>;
  for (int first = 0; first < channels; first += n) {
    math::Corners<opmath<T>, N> c[n];
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i < channels) c[i] = read(image + (first + i) * channel_stride, at);
    }
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i < channels) visit(first + i, c[i]);
    }
  }
}
template <int N, class Index, class T, class Visit>
INTERNET_HD void each_channel(const Strided<const T, N + 2>& source, int64_t image, int channels,
                              const Footprint<opmath<T>, N>& f, Visit visit) {
  Index stride[N];
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) stride[a] = Index(source.stride[N + 1 - a]);
  each_channel<N>(source.data + image * source.stride[0], Index(source.stride[1]), channels,
                  corners<N>(f.axes, stride), visit);
}

template <class S, int N>
INTERNET_HD S exponent_at(const math::Point<S, N>& z, const math::Gaussian<S, N>& g, bool has_covariance,
                          S (&d)[N]) {
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) d[a] = z.axis[a] - g.point[a];
  return has_covariance ? math::exponent_at(g, d) : math::isotropic_exponent_at(g, d);
}
template <class S, int N>
INTERNET_HD S gaussian_at(const math::Point<S, N>& z, const math::Gaussian<S, N>& g, bool has_covariance) {
  S d[N];
  return math::gaussian_value(exponent_at(z, g, has_covariance, d));
}

// put(value, x) for every value of one anchor at one pixel: the heat map, then the channels.
template <class Index, class T, int N, class Put>
INTERNET_HD void anchor_values(const AnchorFeaturesForward<T, N>& p, int64_t image, int anchor,
                               const Position<opmath<T>, N>& pixel, Put put) {
  using S = opmath<T>;
  const Footprint<S, N> f = footprint(p, image, anchor, pixel);
  S heat = 0;
  if (anchor > 0) {
    const math::HeatMap<S, N> heat_map = p.motions[image * p.anchors + anchor].heat_map;
    heat = gaussian_at(pixel.z, heat_map.driving, p.has_covariances) -
           gaussian_at(pixel.z, heat_map.source, p.has_covariances);
  }
  put(0, heat);
  if (!f.reads) {
    for (int c = 0; c < p.channels; ++c) put(1 + c, S(0));
    return;
  }
  each_channel<N, Index>(p.source, image, p.channels, f, [&](int c, const math::Corners<S, N>& pixels) {
    put(1 + c, math::blend(pixels, f.axes));
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

// Adds the shares of a sample's gradient to its pixels, of which those of weight 0 may be outside.
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

// One anchor at one pixel: `grad` gives the incoming gradient of its heat map (0) and channels (1 + c).
template <class Index, class T, int N, class Grad>
__device__ __forceinline__ void pull_anchor(const AnchorFeaturesBackward<T, N>& p, int64_t image, int anchor,
                                            const Position<opmath<T>, N>& pixel, Grad grad,
                                            const GradAccumulator<opmath<T>>& image_sums, opmath<T>* pulls) {
  using S = opmath<T>;
  const Footprint<S, N> f = footprint(p, image, anchor, pixel);
  S moved[N] = {};
  if (f.reads && p.to_anchors && (anchor > 0 || p.backgrounds != nullptr)) {
    each_channel<N, Index>(p.source, image, p.channels, f, [&](int c, const math::Corners<S, N>& pixels) {
      S slopes[N];
      math::blend_slopes(pixels, f.axes, slopes);
      const S g = grad(1 + c);
      INTERNET_UNROLL
      for (int a = 0; a < N; ++a) moved[a] += g * slopes[a];
    });
  }
  if (f.reads && p.sums.data != nullptr) {
    const auto& by = p.sums.stride;
    Index stride[N] = {Index(by[3]), Index(by[2])};
    if constexpr (N == 3) stride[2] = Index(by[2]) * Index(p.grid.height());  // the slices follow each other
    const math::Corners<Index, N> at = corners<N>(f.axes, stride);
    const math::Corners<S, N> weight = math::corner_weights<N>(f.axes);
    for (int c = 0; c < p.channels; ++c) scatter(image_sums.from(c * by[1]), at, weight, grad(1 + c));
  }
  pulls[0] = grad(0);
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) pulls[(1 + a) * pitch<S>] = moved[a] * p.scale[a];
}

// The gradient with respect to the position of a pixel's sample.
template <int N, class S>
INTERNET_HD math::Point<S, N> position_gradient(const S* pulls, int pixel) {
  math::Point<S, N> g;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) g.axis[a] = pulls[(1 + a) * pitch<S> + pixel];
  return g;
}

// Of the background, whose projective map is not affine but in homogeneous coordinates. A pixel that has no
// gradient may lie where the map divides by zero.
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

template <class S, int N>
__device__ __forceinline__ math::GaussianMoments<S, N> warp_moments(math::GaussianMoments<S, N> moments) {
#pragma unroll
  for (int a = 0; a < N; ++a) moments.first[a] = warp_sum(moments.first[a]);
#pragma unroll
  for (int i = 0; i < math::axis_pairs<N>; ++i) moments.second[i] = warp_sum(moments.second[i]);
  return moments;
}

// One of an anchor's two Gaussians, whose part in the heat map has this sign.
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

// Each warp has its anchors. All threads of the block are here.
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

template <class S, int N>
INTERNET_HD math::Gaussian<S, N> narrowed(const math::Gaussian<double, N>& g) {
  math::Gaussian<S, N> out;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) out.point[a] = S(g.point[a]);
  INTERNET_UNROLL
  for (int i = 0; i < math::axis_pairs<N>; ++i) out.exponent[i] = S(g.exponent[i]);
  return out;
}

template <class S, int N>
__global__ void motion_kernel(AnchorMotions<S, N> p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, b = i / (p.count + 1);
  if (b >= p.batch) return;
  const AnchorViews<S, N>& views = p.anchors.anchors;
  AnchorMotion<S, N> out{};
  const int64_t k = i - b * (p.count + 1);
  if (k == 0) {
    out.motion = math::pixel_stillness<N>(p.axes).template to<S>();
    if (p.backgrounds != nullptr) {
      const auto background = projective<N>(views.background, b).template to<double>();
      p.backgrounds[b] = math::pixel_motion(background, p.axes).template to<S>();
    }
  } else {
    const math::HeatMap<double, N> heat_map = p.anchors.at(b, k - 1);
    out.motion = math::pixel_motion(math::anchor_affine(views.at(b, k - 1)), p.axes).template to<S>();
    out.heat_map = {narrowed<S>(heat_map.driving), narrowed<S>(heat_map.source)};
  }
  p.motions[i] = out;
}

template <class S, int N>
INTERNET_HD void write(S* out, int64_t i, const math::Matrix<double, N>& matrix) {
  INTERNET_UNROLL
  for (int j = 0; j < N * N; ++j) out[i * N * N + j] = S(matrix.at[j / N][j % N]);
}

// A warp, which is a block, for each anchor.
template <class S, int N>
__global__ void heat_map_gradient_kernel(HeatMapGradients<S, N> p) {
  const int64_t i = blockIdx.x, b = i / p.count, k = i % p.count;
  math::HeatMapMoments<double, N> moments{};
  for (int64_t part = threadIdx.x; part < p.parts; part += warp_size) {
    moments.add(p.partials[(b * p.parts + part) * p.count + k]);
  }
  moments = {warp_moments(moments.driving), warp_moments(moments.source)};
  if (threadIdx.x != 0) return;
  math::KeyPoints<double, N> grad{};
  p.anchors.add_point_gradients(b, k, moments, grad);
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) {
    p.kp_source[i * N + a] += S(grad.source[a]);
    p.kp_driving[i * N + a] += S(grad.driving[a]);
  }
  if (p.covariance_source == nullptr) return;
  write(p.covariance_source, i, p.anchors.source_covariance_gradient(b, k, moments));
  write(p.covariance_driving, i, p.anchors.driving_covariance_gradient(b, k, moments));
}

// As many anchors at once as fit, but no more than there are; not staged where not one of them fits.
AnchorPlan plan(int anchors, bool staged, size_t fixed, size_t bytes, size_t staged_bytes) {
  const size_t of_an_anchor = bytes + (staged ? staged_bytes : 0);
  const size_t fitting = of_an_anchor == 0 ? anchors : (shared_bytes_of_a_block - fixed) / of_an_anchor;
  if (fitting == 0) return plan(anchors, false, fixed, bytes, 0);
  const int at_once = fitting < size_t(anchors) ? int(fitting) : anchors;
  return {{threads_of_a_block, staged, fixed + at_once * of_an_anchor}, at_once};
}

// The sizes of the axes after the first of a tensor with these channels.
template <class S, int N>
struct ImageSizes {
  int64_t of[N + 1];

  ImageSizes(const PixelGrid<S, N>& grid, int64_t channels) : of{channels} {
    for (int a = 0; a < N; ++a) of[1 + a] = grid.size[a];
  }
};

}  // namespace

template <class T, int N>
AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>& p) {
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.output.stride, p.anchors * values, p.grid.size);
  return plan(p.anchors, staged, 0, 0, values * pitch<T> * sizeof(T));
}

template <class T, int N>
AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>& p) {
  using Memory = BackwardMemory<T, N>;
  const int values = 1 + p.channels;
  const bool staged = pixel_major(p.grad_output.stride, p.anchors * values, p.grid.size);
  return plan(p.anchors, staged, Memory::coordinate_bytes(), Memory::pull_bytes(),
              values * pitch<T> * sizeof(T));
}

template <class S, int N>
cudaError_t anchor_motions(const AnchorMotions<S, N>& p, cudaStream_t stream) {
  return launch_each(motion_kernel<S, N>, p.batch * (p.count + 1), stream, p);
}

template <class S, int N>
cudaError_t heat_map_gradients(const HeatMapGradients<S, N>& p, cudaStream_t stream) {
  return launch(heat_map_gradient_kernel<S, N>, p.batch * p.count, warp_size, 0, stream, p);
}

template <class T, int N>
cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>& p, cudaStream_t stream) {
  const ImageSizes source(p.grid, p.channels), output(p.grid, p.anchors * (1 + p.channels));
  const bool short_offsets = fits_32_bits(p.source, source.of) && fits_32_bits(p.output, output.of);
  auto kernel = short_offsets ? forward_kernel<int32_t, T, N> : forward_kernel<int64_t, T, N>;
  const int64_t blocks = p.grid.batch * p.plan.tile.tiles(p.grid.pixels());
  return launch(kernel, blocks, threads_of_a_block, p.plan.tile.shared_bytes, stream, p);
}

template <class T, int N>
cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>& p, cudaStream_t stream) {
  const ImageSizes source(p.grid, p.channels), output(p.grid, p.anchors * (1 + p.channels));
  const bool short_offsets = fits_32_bits(p.source, source.of) && fits_32_bits(p.grad_output, output.of) &&
                             p.channels * p.grid.pixels() < (int64_t(1) << 30);  // the sums have no gaps
  auto kernel = short_offsets ? backward_kernel<int32_t, T, N> : backward_kernel<int64_t, T, N>;
  const int64_t blocks = p.grid.batch * p.plan.tile.tiles(p.grid.pixels());
  return launch(kernel, blocks, threads_of_a_block, p.plan.tile.shared_bytes, stream, p);
}

#define INSTANTIATE_ANCHORS(S, N)                                                \
  template cudaError_t anchor_motions(const AnchorMotions<S, N>&, cudaStream_t); \
  template cudaError_t heat_map_gradients(const HeatMapGradients<S, N>&, cudaStream_t);
#define INSTANTIATE(T, N)                                                                         \
  template AnchorPlan plan_forward(const AnchorFeaturesForward<T, N>&);                           \
  template AnchorPlan plan_backward(const AnchorFeaturesBackward<T, N>&);                         \
  template cudaError_t anchor_features_forward(const AnchorFeaturesForward<T, N>&, cudaStream_t); \
  template cudaError_t anchor_features_backward(const AnchorFeaturesBackward<T, N>&, cudaStream_t);
#define INSTANTIATE_AXES(N)      \
  INSTANTIATE_ANCHORS(float, N)  \
  INSTANTIATE_ANCHORS(double, N) \
  INSTANTIATE(float, N)          \
  INSTANTIATE(double, N)         \
  INSTANTIATE(__half, N)         \
  INSTANTIATE(__nv_bfloat16, N)
INSTANTIATE_AXES(2)
INSTANTIATE_AXES(3)

}  // namespace internet::cuda
