// One pass: a thread sums up pixels relative to the largest logit so far, and rescales its sums at a larger
// one. The sums of an anchor are then made relative to their common largest logit: within a block through
// shared memory, and between the blocks of a heat map in a second kernel, so that even a few heat maps fill a
// GPU. Everything is in a fixed order: no atomics, the same bits every time.
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class T>
constexpr int forward_blocks = sizeof(T) == 8 ? 1 : 3;

// The factor for sums relative to one logit to make them relative to another, larger one.
template <class S>
INTERNET_HD S rescaling(S from, S to, S per_temperature) {
  return from == to ? S(1) : math::exp_below_88((from - to) * per_temperature);
}

template <class S, int N>
INTERNET_HD void scale(math::HeatSums<S, N>& sums, S factor) {
  sums.mass *= factor;
#pragma unroll
  for (int i = 0; i < N; ++i) sums.position[i] *= factor;
#pragma unroll
  for (int c = 0; c < N * N; ++c) sums.jac[c] *= factor;
}

template <int run, class T, int N>
INTERNET_HD void add_run(const HeatMaps<T, N>& in, const Place& place, const opmath<T> (&logit)[run],
                         const opmath<T> (&map)[run][N * N], HeatPartial<opmath<T>, N>& sum) {
  using S = opmath<T>;
  S largest = sum.largest;
#pragma unroll
  for (int i = 0; i < run; ++i) largest = math::larger(logit[i], largest);
  scale(sum.sums, rescaling(sum.largest, largest, in.per_temperature));
  sum.largest = largest;
  const RunCoordinates<S, N> z = coordinates(in, place);
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S e = math::heat_weight(logit[i], math::heat_reference(largest), in.per_temperature);
    sum.sums.mass += e;
    sum.sums.position[0] += e * (S(place.column + i) * in.grid.step[0] + in.grid.start[0]);
#pragma unroll
    for (int j = 1; j < N; ++j) sum.sums.position[j] += e * z.of_row[j - 1];
#pragma unroll
    for (int c = 0; c < N * N; ++c) sum.sums.jac[c] += e * map[i][c];
  }
}

// The sums over the pixels of one thread.
template <int run, class T, int N>
INTERNET_HD HeatPartial<opmath<T>, N> sum_runs(const HeatMaps<T, N>& in, int64_t image, int64_t anchor,
                                               int64_t first_pixel, int64_t step) {
  using S = opmath<T>;
  HeatPartial<S, N> sum{S(-INFINITY), {}};
  Place place(first_pixel, in.grid.width());
#pragma unroll 1
  for (int i = 0; i < pixels_of_a_thread / run && place.row < in.rows(); ++i) {
    S logit[run], map[run][N * N] = {};
    line<run>(in, in.logits, image, anchor, place).load(logit);
    if (in.map.data != nullptr) line<run>(in, in.map, image, in.map_of(anchor), place).load(map);
    add_run<run>(in, place, logit, map, sum);
    place.advance(step, in.grid.width());
  }
  return sum;
}

// Merges `count` partials, at(0) .. at(count - 1). Lane 0 of a warp gets the result; all 32 lanes must take
// part.
template <class S, int N, class At>
__device__ __forceinline__ HeatPartial<S, N> merge(int64_t count, S per_temperature, At at) {
  const int lane = threadIdx.x % warp_size;
  S largest = S(-INFINITY);
  for (int64_t i = lane; i < count; i += warp_size) largest = math::larger(at(i).largest, largest);
  largest = warp_largest(largest);
  math::HeatSums<S, N> sums{};
  for (int64_t i = lane; i < count; i += warp_size) {
    HeatPartial<S, N> part = at(i);
    const S factor = rescaling(part.largest, largest, per_temperature);
    sums.mass += factor * part.sums.mass;
#pragma unroll
    for (int j = 0; j < N; ++j) sums.position[j] += factor * part.sums.position[j];
#pragma unroll
    for (int c = 0; c < N * N; ++c) sums.jac[c] += factor * part.sums.jac[c];
  }
  HeatPartial<S, N> all;
  all.largest = largest;
  all.sums.mass = warp_sum(sums.mass);
#pragma unroll
  for (int j = 0; j < N; ++j) all.sums.position[j] = warp_sum(sums.position[j]);
#pragma unroll
  for (int c = 0; c < N * N; ++c) all.sums.jac[c] = warp_sum(sums.jac[c]);
  return all;
}

// The partials of a block's threads: one array for each number, so that neighbours are in different banks.
template <class S, int N>
struct ThreadPartials {
  static constexpr int count = 2 + N + N * N;
  S* numbers;  // (count, threads)

  __device__ __forceinline__ void put(int thread, const HeatPartial<S, N>& p) const {
    S* to = numbers + thread;
    to[0] = p.largest;
    to[block_threads] = p.sums.mass;
#pragma unroll
    for (int i = 0; i < N; ++i) to[(2 + i) * block_threads] = p.sums.position[i];
#pragma unroll
    for (int c = 0; c < N * N; ++c) to[(2 + N + c) * block_threads] = p.sums.jac[c];
  }
  __device__ __forceinline__ HeatPartial<S, N> get(int thread) const {
    const S* from = numbers + thread;
    HeatPartial<S, N> p;
    p.largest = from[0];
    p.sums.mass = from[block_threads];
#pragma unroll
    for (int i = 0; i < N; ++i) p.sums.position[i] = from[(2 + i) * block_threads];
#pragma unroll
    for (int c = 0; c < N * N; ++c) p.sums.jac[c] = from[(2 + N + c) * block_threads];
    return p;
  }
};

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads, forward_blocks<T>)
    forward_kernel(SoftArgmaxForward<T, N> p) {
  using S = opmath<T>;
  const ThreadPartials<S, N> partials{reinterpret_cast<S*>(shared_memory)};
  sum_tile<run>(
      p,
      [&](int64_t image, int64_t anchor, int64_t first, int64_t step) {
        partials.put(threadIdx.x, sum_runs<run>(p.in, image, anchor, first, step));
      },
      [&](int lanes, auto thread_of) {
        return merge<S, N>(lanes, p.in.per_temperature,
                           [&](int64_t i) { return partials.get(thread_of(i)); });
      });
}

// One block of a single warp for each heat map.
template <class S, int N>
__global__ void merge_kernel(SoftArgmaxMerge<S, N> p) {
  const int64_t plane = blockIdx.x;
  const auto all =
      merge<S, N>(p.tiles, p.per_temperature, [&](int64_t i) { return p.partials[plane * p.tiles + i]; });
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < N; ++i) p.kp[N * plane + i] = all.sums.position[i] / all.sums.mass;
#pragma unroll
  for (int c = 0; c < N * N; ++c) {
    if (p.jac != nullptr) p.jac[N * N * plane + c] = all.sums.jac[c] / all.sums.mass;
  }
  p.statistics[2 * plane] = all.largest;
  p.statistics[2 * plane + 1] = all.sums.mass;
}

}  // namespace

template <class T, int N>
int64_t tiles_of(const HeatMaps<T, N>& in) {
  return ceiling(in.grid.pixels(), arrange(in, false).lanes * pixels_of_a_thread);
}

template <class T, int N>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>& p, cudaStream_t stream) {
  return launch_sums(forward_kernel<1, T, N>, forward_kernel<longest_run<N>, T, N>,
                     ThreadPartials<opmath<T>, N>::count, p, stream);
}

template <class S, int N>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>& p, cudaStream_t stream) {
  return launch(merge_kernel<S, N>, p.planes, warp_size, 0, stream, p);
}

#define INSTANTIATE_MERGE(S, N) \
  template cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_MERGE)

#define INSTANTIATE(T, N)                           \
  template int64_t tiles_of(const HeatMaps<T, N>&); \
  template cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
