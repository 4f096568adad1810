// The second moments about the key points, in a second pass: each thread sums up its pixels, a warp the
// threads of a block, and a second kernel the blocks of a heat map, as in forward.cu.
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

// The moments of one thread's pixels.
template <int run, class T, int N, class S = opmath<T>>
INTERNET_HD math::HeatMoments<S, N> moments_of_runs(const SoftArgmaxMoments<T, N>& p, int64_t image,
                                                    int64_t anchor, int64_t first_pixel, int64_t step) {
  const HeatMaps<T, N>& in = p.in;
  const int64_t plane = image * in.anchors + anchor;
  const S reference = math::heat_reference(p.statistics[2 * plane]);
  const S* kp = p.kp + N * plane;
  math::HeatMoments<S, N> sums{};
  Place place(first_pixel, in.grid.width());
#pragma unroll 1
  for (int i = 0; i < pixels_of_a_thread / run && place.row < in.rows(); ++i) {
    S logit[run], mass = 0, first = 0, second = 0;
    line<run>(in, in.logits, image, anchor, place).load(logit);
    RunCoordinates<S, N> z = coordinates(in, place);
#pragma unroll
    for (int k = 0; k < run; ++k) {
      const S e = math::heat_weight(logit[k], reference, in.per_temperature), d = z.x(k) - kp[0];
      mass += e;
      first += e * d;
      second += e * d * d;
    }
#pragma unroll
    for (int j = 1; j < N; ++j) z.of_row[j - 1] -= kp[j];
    math::add_row(sums, mass, first, second, z.of_row);
    place.advance(step, in.grid.width());
  }
  return sums;
}

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads) moments_kernel(SoftArgmaxMoments<T, N> p) {
  using S = opmath<T>;
  constexpr int count = math::triangle<N>;
  S* numbers = reinterpret_cast<S*>(shared_memory);  // (count, threads)
  sum_tile<run>(
      p,
      [&](int64_t image, int64_t anchor, int64_t first, int64_t step) {
        const auto sums = moments_of_runs<run>(p, image, anchor, first, step);
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
  return launch_sums(moments_kernel<1, T, N>, moments_kernel<longest_run<N>, T, N>, math::triangle<N>, p,
                     stream);
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
