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

// The factor for sums relative to one logit to make them relative to another, larger one.
template <class S>
INTERNET_HD S rescaling(S from, S to, S per_temperature) {
  return from == to ? S(1) : math::exp_below_88((from - to) * per_temperature);
}

// Makes the sums relative to the largest logit of these runs, too. Like fmax, that ignores NaN; the sums do
// not.
template <bool with_map, class T, int run, int count, class S, int N>
INTERNET_HD void include_largest(const Run<T, run> (&logits)[count], S per_temperature,
                                 HeatPartial<S, N>& sum) {
  S largest = sum.largest;
#pragma unroll
  for (int b = 0; b < count; ++b) {
#pragma unroll
    for (int i = 0; i < run; ++i) largest = std::fmax(widen(logits[b].value[i]), largest);
  }
  const S factor = rescaling(sum.largest, largest, per_temperature);
  sum.largest = largest;
  sum.sums.mass *= factor;
#pragma unroll
  for (int j = 0; j < N; ++j) sum.sums.position[j] *= factor;
#pragma unroll
  for (int c = 0; with_map && c < N * N; ++c) sum.sums.jac[c] *= factor;
}

// Adds a run, whose logits are at most sum.largest. What does not exist of it has weight 0.
template <bool with_map, class T, int run, class S, int N>
INTERNET_HD void add_run(const Run<T, run>& logits, const MatrixRun<T, run, N>& map,
                         const RunCoordinates<S, N>& z, S per_temperature, HeatPartial<S, N>& sum) {
  const S reference = math::heat_reference(sum.largest);
  S mass = 0, steps = 0;  // sums of e, and of e times the number of steps from the run's first pixel
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S e = math::heat_weight(widen(logits.value[i]), reference, per_temperature);
    mass += e;
    steps += e * S(i);
#pragma unroll
    for (int c = 0; with_map && c < N * N; ++c) sum.sums.jac[c] += e * widen(map.entry[c].value[i]);
  }
  sum.sums.mass += mass;
  sum.sums.position[0] += mass * z.x_start + steps * z.x_step;
#pragma unroll
  for (int j = 1; j < N; ++j) sum.sums.position[j] += mass * z.of_row[j - 1];
}

// The sums over the pixels of a thread.
template <bool vectors, bool with_map, class T, int N>
__device__ __forceinline__ HeatPartial<opmath<T>, N> sum_runs(const HeatMaps<T, N>& in, const Share& share) {
  using S = opmath<T>;
  constexpr int run = run_length<T, with_map>, batch = with_map ? 1 : 16 / run;
  const T* logits = plane_at(in.logits, share.image, share.anchor());
  const T* map = plane_at(in.map, share.image, in.map_of(share.anchor()));
  const bool packed = with_map && matrices_in_vectors<const T, N>(in.map);
  HeatPartial<S, N> sum{S(-INFINITY), {}};
  each_run<batch>(in.by, share, [&](const Place(&at)[batch]) {
    Run<T, run> logit[batch];
    MatrixRun<T, run, N> matrix[with_map ? batch : 1];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const int count = pixels_of_run(in, at[b]);
      logit[b] =
          load_run<vectors, run>(logits + offset(in.logits, at[b]), in.logits.stride[4], count, S(-INFINITY));
      if constexpr (with_map) {
        matrix[b] = load_matrices<vectors, run, N>(in.map, map + offset(in.map, at[b]), count, packed);
      }
    }
    include_largest<with_map>(logit, in.per_temperature, sum);
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      add_run<with_map>(logit[b], matrix[with_map ? b : 0], coordinates(in, at[b]), in.per_temperature, sum);
    }
  });
  return sum;
}

// Merges `count` partials, at(0) .. at(count - 1). Lane 0 of a warp gets the result; all 32 lanes must take
// part.
template <bool with_map, class S, int N, class At>
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
    for (int c = 0; with_map && c < N * N; ++c) sums.jac[c] += factor * part.sums.jac[c];
  }
  HeatPartial<S, N> all;
  all.largest = largest;
  all.sums.mass = warp_sum(sums.mass);
#pragma unroll
  for (int j = 0; j < N; ++j) all.sums.position[j] = warp_sum(sums.position[j]);
#pragma unroll
  for (int c = 0; with_map && c < N * N; ++c) all.sums.jac[c] = warp_sum(sums.jac[c]);
  return all;
}

// The partials of a block's threads: one array for each number, so that neighbours are in different banks.
template <bool with_map, class S, int N>
struct ThreadPartials {
  static constexpr int count = 2 + N + (with_map ? N * N : 0);
  S* numbers;  // (count, threads)

  __device__ __forceinline__ void put(int thread, const HeatPartial<S, N>& p) const {
    S* to = numbers + thread;
    to[0] = p.largest;
    to[block_threads] = p.sums.mass;
#pragma unroll
    for (int i = 0; i < N; ++i) to[(2 + i) * block_threads] = p.sums.position[i];
#pragma unroll
    for (int c = 0; with_map && c < N * N; ++c) to[(2 + N + c) * block_threads] = p.sums.jac[c];
  }
  __device__ __forceinline__ HeatPartial<S, N> get(int thread) const {
    const S* from = numbers + thread;
    HeatPartial<S, N> p;
    p.largest = from[0];
    p.sums.mass = from[block_threads];
#pragma unroll
    for (int i = 0; i < N; ++i) p.sums.position[i] = from[(2 + i) * block_threads];
#pragma unroll
    for (int c = 0; with_map && c < N * N; ++c) p.sums.jac[c] = from[(2 + N + c) * block_threads];
    return p;
  }
};

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool with_map, class T, int N>
constexpr int forward_blocks = sizeof(T) == sizeof(double) || (with_map && N == 3) ? 1
                               : !with_map                                         ? 4
                               : sizeof(T) == sizeof(float)                        ? 3
                                                                                   : 2;

template <bool vectors, bool with_map, class T, int N>
__global__ void __launch_bounds__(block_threads, (forward_blocks<with_map, T, N>))
    forward_kernel(SoftArgmaxForward<T, N> p) {
  using S = opmath<T>;
  const ThreadPartials<with_map, S, N> partials{reinterpret_cast<S*>(shared_memory)};
  sum_tile(
      p, [&](const Share& share) { partials.put(threadIdx.x, sum_runs<vectors, with_map>(p.in, share)); },
      [&](int lanes, auto thread_of) {
        return merge<with_map, S, N>(lanes, p.in.per_temperature,
                                     [&](int64_t i) { return partials.get(thread_of(i)); });
      });
}

// One block of a single warp for each heat map.
template <bool with_map, class S, int N>
__global__ void merge_kernel(SoftArgmaxMerge<S, N> p) {
  const int64_t plane = blockIdx.x;
  const auto all = merge<with_map, S, N>(p.tiles, p.per_temperature,
                                         [&](int64_t i) { return p.partials[plane * p.tiles + i]; });
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < N; ++i) p.kp[N * plane + i] = all.sums.position[i] / all.sums.mass;
#pragma unroll
  for (int c = 0; with_map && c < N * N; ++c) {
    p.jac[N * N * plane + c] = all.sums.jac[c] / all.sums.mass;
  }
  p.statistics[2 * plane] = all.largest;
  p.statistics[2 * plane + 1] = all.sums.mass;
}

template <bool with_map, class T, int N>
cudaError_t launch_forward(const SoftArgmaxForward<T, N>& p, cudaStream_t stream) {
  const int64_t width = p.in.grid.width();
  const bool vectors = p.in.by.columns == 1 && in_vectors(p.in.logits, width) && in_vectors(p.in.map, width);
  auto kernel = vectors ? forward_kernel<true, with_map, T, N> : forward_kernel<false, with_map, T, N>;
  return launch_tiles(kernel, ThreadPartials<with_map, opmath<T>, N>::count, p, stream);
}

}  // namespace

template <class T, int N>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>& p, cudaStream_t stream) {
  return p.in.map.data == nullptr ? launch_forward<false>(p, stream) : launch_forward<true>(p, stream);
}

template <class S, int N>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>& p, cudaStream_t stream) {
  auto kernel = p.jac == nullptr ? merge_kernel<false, S, N> : merge_kernel<true, S, N>;
  return launch(kernel, p.planes, warp_size, 0, stream, p);
}

#define INSTANTIATE_MERGE(S, N) \
  template cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_MERGE)

#define INSTANTIATE(T, N) \
  template cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
