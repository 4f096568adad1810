// Without a threshold, each logit is read once: if the pixels of a channel lie side by side, a thread
// computes a run of them from registers, with the same motions along the row. Otherwise a thread computes
// each pixel of the block's tile.
#include "cuda/affine_mixture/tile.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/tiles.h"
#include "cuda/runtime/vectors.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool in_scratch, class T>
constexpr int least_blocks = in_scratch                    ? 1
                             : sizeof(T) == sizeof(double) ? 3
                                                           : 4;

template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 2>& point) {
  *reinterpret_cast<Two<S>*>(p) = {point.axis[0], point.axis[1]};
}
template <class S>
INTERNET_HD void store_point(S* p, const math::Point<S, 3>& point) {
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) p[axis] = point.axis[axis];
}

// Without a threshold, each exponential is needed only once and is not stored.
template <bool thresholded, class Map, class T, int N>
INTERNET_HD void forward_pixel(const AffineMixtureForward<T, N>& p, const PixelTile& tile,
                               const TileMemory<Map, opmath<T>, N>& memory, int thread) {
  using S = opmath<T>;
  const S* logits = memory.values + thread * memory.pitch;
  const Map* maps = memory.maps;
  const S largest = largest_of(logits, p.anchors + 1);
  const math::Point<S, N> z = position(p.grid, tile.first + thread).z;
  auto exponential = [=](int k) { return math::exp_below_88(logits[k] - largest); };
  auto motion = [=](int k) { return maps[k - 1].row(z); };
  const auto f = math::compose<thresholded>(p.anchors, exponential, motion, still(p, tile.image, z),
                                            z.axis[0], p.threshold);
  store_point(p.field + (tile.image * p.grid.pixels() + tile.first + thread) * N, f.field);
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <bool thresholded, bool in_scratch, template <class, int> class Map, class T, int N>
__global__ void __launch_bounds__(most_threads, (least_blocks<in_scratch, T>))
    forward_kernel(AffineMixtureForward<T, N> p) {
  using S = opmath<T>;
  const TileMemory<Map<S, N>, S, N> memory(tile_memory<in_scratch>(p, shared_memory), p.anchors,
                                           p.plan.threads, false);
  const PixelTile tile = pixel_tile_of_block(p.grid, p.plan, blockIdx.x);
  const int thread = threadIdx.x;
  load_tile(p, tile, memory, thread);
  __syncthreads();
  if (thread < tile.count) forward_pixel<thresholded>(p, tile, memory, thread);
}

constexpr int run_threads = 256;
template <class T>
constexpr int run_length = sizeof(T) == sizeof(double) ? 2 : 4;

// The fields of a run of pixels lie side by side.
template <class S, int count, int N>
__device__ __forceinline__ void store_fields(S* p, const math::Composition<S, N> (&f)[count]) {
  constexpr int length = 16 / sizeof(S);
#pragma unroll
  for (int i = 0; i < count * N; i += length) {
    Values<S, length> part;
#pragma unroll
    for (int j = 0; j < length; ++j) part.value[j] = f[(i + j) / N].field.axis[(i + j) % N];
    store(p + i, part);
  }
}

template <template <class, int> class Map, class T, int N>
__global__ void __launch_bounds__(run_threads, sizeof(T) == sizeof(double) ? 2 : 6 - N)
    runs_kernel(AffineMixtureForward<T, N> p) {
  using S = opmath<T>;
  constexpr int run = run_length<T>;
  Map<S, N>* maps = reinterpret_cast<Map<S, N>*>(shared_memory);
  const unsigned blocks = ceiling(p.grid.pixels(), run_threads * run), image = blockIdx.x / blocks;
  load_maps(p, image, maps, threadIdx.x, run_threads);
  __syncthreads();
  const int64_t pixel = (int64_t(blockIdx.x - image * blocks) * run_threads + threadIdx.x) * run;
  if (pixel >= p.grid.pixels()) return;
  const Position<S, N> at = position(p.grid, pixel);
  const T* logits = p.logits.data + image * p.logits.stride[0] + at.offset(p.logits.stride + 2);
  math::Point<S, N> stills[run];
#pragma unroll
  for (int i = 0; i < run; ++i) {
    math::Point<S, N> z = at.z;
    z.axis[0] += S(i) * p.grid.step[0];
    stills[i] = still(p, image, z);
  }
  // Two channels are loaded ahead of the one that is needed.
  auto channel = [&](int k) { return load_packed<run>(logits + min(k, p.anchors) * p.logits.stride[1]); };
  Loaded<T, run> ahead[2];
  Values<S, run> logit;
  math::Composition<S, N> f[run];
  math::compose_logits<false, run>(
      p.anchors,
      [&](int k, int i) {
        if (i == 0) {
          if (k == 0) ahead[0] = channel(0), ahead[1] = channel(1);
          logit = widen(ahead[0]);
          ahead[0] = ahead[1];
          ahead[1] = channel(k + 2);
        }
        return logit.value[i];
      },
      [&](int k) { return math::stepped(maps[k - 1].row(at.z), p.grid.step[0]); }, stills, at.z.axis[0],
      [](int, int, S) {}, f);
  store_fields(p.field + (int64_t(image) * p.grid.pixels() + pixel) * N, f);
}

template <class T, int N>
bool in_runs(const AffineMixtureForward<T, N>& p) {
  constexpr int run = run_length<T>;
  const auto& stride = p.logits.stride;
  bool aligned = stride[N + 1] == 1 && p.grid.width() % run == 0;
  for (int axis = 0; axis <= N; ++axis) aligned = aligned && stride[axis] % run == 0;
  return aligned && reinterpret_cast<uintptr_t>(p.logits.data) % (run * sizeof(T)) == 0;
}

}  // namespace

template <class S, int N>
TilePlan plan_forward(int anchors) {
  return fitting<S, N>(anchors, false, false);
}

template <class T, int N>
cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>& p, cudaStream_t stream) {
  const size_t maps = p.anchors * sizeof(AnchorMap<opmath<T>, N>);
  if (p.threshold == 0 && in_runs(p) && maps <= shared_bytes_of_a_block) {
    const int64_t blocks = p.grid.batch * ceiling(p.grid.pixels(), run_threads * run_length<T>);
    auto kernel = p.translations ? runs_kernel<AnchorTranslation, T, N> : runs_kernel<AnchorMap, T, N>;
    return launch(kernel, blocks, run_threads, maps, stream, p);
  }
  const Variants<AffineMixtureForward<T, N>> variants{
      .in_scratch = forward_kernel<true, true, AnchorMap, T, N>,
      .thresholded = forward_kernel<true, false, AnchorMap, T, N>,
      .plain = forward_kernel<false, false, AnchorMap, T, N>,
      .thresholded_translations = forward_kernel<true, false, AnchorTranslation, T, N>,
      .plain_translations = forward_kernel<false, false, AnchorTranslation, T, N>};
  return launch_tiles(variants, p, stream);
}

#define INSTANTIATE_PLAN(S, N) template TilePlan plan_forward<S, N>(int);
#define INSTANTIATE(T, N) \
  template cudaError_t affine_mixture_forward(const AffineMixtureForward<T, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_PLAN)
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
