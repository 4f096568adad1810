// A thread sums up pixels relative to the largest logit it has met, and rescales when it meets a larger one:
// one pass. Threads of an anchor are then brought to their common largest, within a block through shared
// memory, among the blocks of a heat map in a second kernel: few heat maps fill a GPU all the same. All in a
// fixed order: no atomics, the same bits every time.
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

// Of blocks that a multiprocessor holds at once: the registers must do for as many.
template <class T>
constexpr int forward_blocks = sizeof(T) == 8 ? 1 : 3;

// What multiplies sums relative to one logit when they become relative to another, larger one.
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

// The pixels of one thread.
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

// One partial out of `count` of them, at(0) ..: lane 0 of a warp gets it, all 32 lanes must be here.
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
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, false);
  const Share share(blockIdx.x, p.tiles, ceiling(in.anchors, by.columns), by.columns);
  const int thread = threadIdx.x, lane = thread / by.columns, warp = thread / warp_size;
  const int64_t anchor = share.first_anchor + thread % by.columns;
  const int64_t first = share.tile * by.lanes * pixels_of_a_thread + lane * run;
  const ThreadPartials<S, N> partials{reinterpret_cast<S*>(shared_memory)};
  if (lane < by.lanes && anchor < in.anchors) {
    partials.put(thread, sum_runs<run>(in, share.image, anchor, first, by.lanes * run));
  }
  __syncthreads();
  for (int c = warp; c < by.columns && share.first_anchor + c < in.anchors; c += block_threads / warp_size) {
    const auto merged = merge<S, N>(by.lanes, in.per_temperature,
                                    [&](int64_t i) { return partials.get(int(i) * by.columns + c); });
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * p.tiles + share.tile] = merged;
  }
}

// A warp, which is a block, for each heat map.
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
  auto kernel =
      arrange(p.in, false).run == 1 ? forward_kernel<1, T, N> : forward_kernel<longest_run<N>, T, N>;
  return launch_tiles(kernel, ThreadPartials<opmath<T>, N>::count, p, stream);
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
