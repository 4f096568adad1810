// The second moments about the key points, in a second pass: each thread sums up its pixels, a warp the
// threads of a block, and a second kernel the blocks of a heat map, as in forward.cu.
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

// The moments of one thread's pixels.
template <bool vectors, class T, int N, class S = opmath<T>>
__device__ __forceinline__ math::HeatMoments<S, N> moments_of_runs(const SoftArgmaxMoments<T, N>& p,
                                                                   const Share& share) {
  const HeatMaps<T, N>& in = p.in;
  const int64_t anchor = share.anchor(), plane = share.image * in.anchors + anchor;
  const T* logits = plane_at(in.logits, share.image, anchor);
  const S reference = math::heat_reference(p.statistics[2 * plane]);
  S kp[N];
#pragma unroll
  for (int i = 0; i < N; ++i) kp[i] = p.kp[N * plane + i];
  constexpr int run = run_length<T, false>, batch = 16 / run;
  math::HeatMoments<S, N> sums{};
  each_run<batch>(in.by, share, [&](const Place(&at)[batch]) {
    Run<T, run> logit[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      logit[b] = load_run<vectors, run>(logits + offset(in.logits, at[b]), in.logits.stride[4],
                                        pixels_of_run(in, at[b]), S(-INFINITY));
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      RunCoordinates<S, N> z = coordinates(in, at[b]);
      S mass = 0, first = 0, second = 0;
#pragma unroll
      for (int i = 0; i < run; ++i) {
        const S e = math::heat_weight(widen(logit[b].value[i]), reference, in.per_temperature);
        const S d = z.x(i) - kp[0];
        mass += e;
        first += e * d;
        second += e * d * d;
      }
#pragma unroll
      for (int j = 1; j < N; ++j) z.of_row[j - 1] -= kp[j];
      math::add_row(sums, mass, first, second, z.of_row);
    }
  });
  return sums;
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class T>
constexpr int moments_blocks = sizeof(T) == sizeof(double) ? 1 : 4;

template <bool vectors, class T, int N>
__global__ void __launch_bounds__(block_threads, moments_blocks<T>)
    moments_kernel(SoftArgmaxMoments<T, N> p) {
  using S = opmath<T>;
  constexpr int count = math::triangle<N>;
  S* numbers = reinterpret_cast<S*>(shared_memory);  // (count, threads)
  sum_tile(
      p,
      [&](const Share& share) {
        const auto sums = moments_of_runs<vectors>(p, share);
#pragma unroll
        for (int e = 0; e < count; ++e) numbers[e * block_threads + threadIdx.x] = sums.entry[e];
      },
      [&](int lanes, auto thread_of) {
        math::HeatMoments<S, N> all{};
        for (int i = threadIdx.x % warp_size; i < lanes; i += warp_size) {
#pragma unroll
          for (int e = 0; e < count; ++e) all.entry[e] += numbers[e * block_threads + thread_of(i)];
        }
#pragma unroll
        for (int e = 0; e < count; ++e) all.entry[e] = warp_sum(all.entry[e]);
        return all;
      });
}

// One block of a single warp for each heat map.
template <class S, int N>
__global__ void covariance_kernel(SoftArgmaxCovariance<S, N> p) {
  const int64_t plane = blockIdx.x;
  const S mass = p.statistics[2 * plane + 1];
  S* matrix = p.covariance + N * N * plane;
  int e = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
#pragma unroll
    for (int j = i; j < N; ++j, ++e) {
      S sum = 0;
      for (int64_t tile = threadIdx.x; tile < p.tiles; tile += warp_size) {
        sum += p.partials[plane * p.tiles + tile].entry[e];
      }
      sum = warp_sum(sum);
      if (threadIdx.x == 0) matrix[N * i + j] = matrix[N * j + i] = sum / mass;
    }
  }
}

}  // namespace

template <class T, int N>
cudaError_t soft_argmax_moments(const SoftArgmaxMoments<T, N>& p, cudaStream_t stream) {
  const bool vectors = p.in.by.columns == 1 && in_vectors(p.in.logits, p.in.grid.width());
  auto kernel = vectors ? moments_kernel<true, T, N> : moments_kernel<false, T, N>;
  return launch_tiles(kernel, math::triangle<N>, p, stream);
}

template <class S, int N>
cudaError_t soft_argmax_covariance(const SoftArgmaxCovariance<S, N>& p, cudaStream_t stream) {
  return launch(covariance_kernel<S, N>, p.planes, warp_size, 0, stream, p);
}

#define INSTANTIATE_SUMS(S, N) \
  template cudaError_t soft_argmax_covariance(const SoftArgmaxCovariance<S, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE_SUMS)

#define INSTANTIATE(T, N) \
  template cudaError_t soft_argmax_moments(const SoftArgmaxMoments<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
