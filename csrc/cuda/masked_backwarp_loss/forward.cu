// The loss, forward: a thread computes some pixels of a column, from the flow to the penalty, in registers.
// Each tile gives one partial sum, and one block adds up the partial sums, both in a fixed order, so that the
// loss has the same bits every time.
#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/masked_backwarp_loss/pixel.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/runtime/vectors.h"
#include "cuda/runtime/warp_sum.h"

namespace internet::cuda {
namespace {

constexpr int threads = 128, threads_of_the_sum = 256;
using LossTiles = Tiles<32, 32>;
constexpr int rows_of_a_thread = LossTiles::pixels / threads;
constexpr int channels_at_once = 3;  // most frames have three

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class Index, class T>
constexpr int least_blocks = sizeof(T) == 8 || sizeof(Index) == 8 ? 3 : 7;

template <class Index, class T, class S = opmath<T>>
__device__ __forceinline__ S pixel_loss(const BackwarpInputs<T>& in, const BackwarpPixel<S>& pixel,
                                        const T* output, const T* target) {
  const auto from = pixel.corners(Index(in.output.stride[2]), Index(in.output.stride[3]));
  const auto weights = pixel.weights();
  const Index step = in.output.stride[1], target_step = in.target.stride[1];
  S sum = 0;
  auto next = [&](Index first, auto at_once) {
    constexpr int channels = decltype(at_once)::value;
    math::Corners<S> values[channels];
    S wanted[channels];
#pragma unroll
    for (int c = 0; c < channels; ++c) {
      const Index channel = (first + c) * step;
      values[c] = {load(output + (channel + from.nw)), load(output + (channel + from.ne)),
                   load(output + (channel + from.sw)), load(output + (channel + from.se))};
      wanted[c] = load(target + (first + c) * target_step);
    }
    with_penalty(in.norm, [&](auto norm) {
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        const S sample = pixel.reads ? math::weighted_sum(weights, values[c]) : S(0);
        sum += math::penalty<decltype(norm)::value>((sample - wanted[c]) * pixel.mask);
      }
    });
  };
  Index c = 0;
  for (; c + channels_at_once <= in.channels; c += channels_at_once) next(c, Constant<channels_at_once>());
  for (; c < in.channels; ++c) next(c, Constant<1>());
  return pixel.counts ? sum : S(0);
}

// Thread 0 gets the sum over the block. Must be called by all of its threads.
template <int threads>
__device__ __forceinline__ double block_sum(double value) {
  constexpr int warps = threads / warp_size;
  __shared__ double sums[warps];
  const double sum = warp_sum(value);
  if (threadIdx.x % warp_size == 0) sums[threadIdx.x / warp_size] = sum;
  __syncthreads();
  double total = 0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < warps; ++warp) total += sums[warp];
  }
  return total;
}

template <class Index, class T>
__global__ void __launch_bounds__(threads, (least_blocks<Index, T>)) loss_kernel(MaskedBackwarpLoss<T> p) {
  using S = opmath<T>;
  const LossTiles tiles{p.in.batch, 1, p.in.height, p.in.width};
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const Index column = Index(tile.column) + threadIdx.x % LossTiles::width, width = p.in.width;
  const Index first = Index(tile.row) + threadIdx.x / LossTiles::width * rows_of_a_thread;
  const Index end = min(first + rows_of_a_thread, Index(p.in.height));
  double sum = 0;
  if (column < width && first < end) {
    BackwarpColumn<T, Index> pixels(p.in, tile.image, column, first, end);
    S* local = p.local == nullptr ? nullptr : p.local + tile.image * p.in.height * p.in.width + column;
#pragma unroll 1
    for (Index row = first; row < end; ++row) {
      const T* target = pixels.target + row * Index(p.in.target.stride[2]);
      const S loss = pixel_loss<Index>(p.in, pixels.at(row), pixels.output, target);
      if (local != nullptr) local[row * width] = loss;
      sum += double(loss);
    }
  }
  if (p.partials == nullptr) return;
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) p.partials[blockIdx.x] = sum;
}

template <class S>
__global__ void __launch_bounds__(threads_of_the_sum) sum_kernel(SumPartials<S> p) {
  double sum = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < p.count; i += threads_of_the_sum) sum += load(p.partials + i);
  sum = block_sum<threads_of_the_sum>(sum);
  if (threadIdx.x == 0) *p.loss = S(sum / p.divisor);
}

}  // namespace

int64_t masked_backwarp_loss_partials(int64_t batch, int64_t height, int64_t width) {
  return LossTiles{batch, 1, height, width}.count();
}

template <class T>
cudaError_t masked_backwarp_loss(const MaskedBackwarpLoss<T>& p, cudaStream_t stream) {
  const int64_t blocks = masked_backwarp_loss_partials(p.in.batch, p.in.height, p.in.width);
  auto kernel = fits_32_bits(p.in) ? loss_kernel<int32_t, T> : loss_kernel<int64_t, T>;
  return launch(kernel, blocks, threads, 0, stream, p);
}

template <class S>
cudaError_t sum_partials(const SumPartials<S>& p, cudaStream_t stream) {
  return launch(sum_kernel<S>, 1, threads_of_the_sum, 0, stream, p);
}

template cudaError_t sum_partials(const SumPartials<float>&, cudaStream_t);
template cudaError_t sum_partials(const SumPartials<double>&, cudaStream_t);

#define INSTANTIATE(T) template cudaError_t masked_backwarp_loss(const MaskedBackwarpLoss<T>&, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
