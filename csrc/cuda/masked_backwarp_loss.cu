// The loss, forward: a thread does some pixels of a tile, from the flow to the penalty, in registers. The
// tile's sum is one partial sum, and one block adds up the partial sums: two fixed orders, so that the loss
// has the same bits every time.
#include "backwarp_pixel.h"
#include "launch.h"
#include "masked_backwarp_loss.h"
#include "tiles.h"
#include "vectors.h"
#include "warp_sum.h"

namespace internet::cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size;
using LossTiles = Tiles<32, 32>;
constexpr int channels_at_once = 3;  // frames mostly have three

template <class T, class S = opmath<T>>
__device__ __forceinline__ S pixel_loss(const BackwarpInputs<T>& in, const Tile& tile, const TilePixel& at) {
  const BackwarpPixel<S> pixel = backwarp_pixel(in, tile.image, at.row, at.column);
  const auto from = footprint(pixel.sample, in.output.stride).corners();
  const int64_t step = in.output.stride[1], target_step = in.target.stride[1];
  const T* output = in.output.data + tile.image * in.output.stride[0];
  const T* target = in.target.data + tile.image * in.target.stride[0] + at.row * in.target.stride[2] +
                    at.column * in.target.stride[3];
  S sum = 0;
  auto next = [&](auto at_once) {
    constexpr int channels = decltype(at_once)::value;
    math::Corners<S> values[channels];
    S wanted[channels];
#pragma unroll
    for (int c = 0; c < channels; ++c, output += step, target += target_step) {
      values[c] = {load(output + from.nw), load(output + from.ne), load(output + from.sw),
                   load(output + from.se)};
      wanted[c] = load(target);
    }
    with_penalty(in.norm, [&](auto norm) {
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        const S sample = pixel.sample.reads ? math::weighted_sum(pixel.sample.weights, values[c]) : S(0);
        sum += math::penalty<decltype(norm)::value>((sample - wanted[c]) * pixel.mask);
      }
    });
  };
  int64_t c = 0;
  for (; c + channels_at_once <= in.channels; c += channels_at_once) next(Constant<channels_at_once>());
  for (; c < in.channels; ++c) next(Constant<1>());
  return pixel.counts ? sum : S(0);
}

// Thread 0 gets the sum over the block, whose threads are all here.
__device__ __forceinline__ double block_sum(double value) {
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

template <class T>
__global__ void __launch_bounds__(threads) loss_kernel(MaskedBackwarpLoss<T> p) {
  const LossTiles tiles{p.in.batch, 1, p.in.height, p.in.width};
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  double sum = 0;
  for (int i = threadIdx.x; i < LossTiles::pixels; i += threads) {
    const TilePixel at = tile_pixel(tiles, tile, i);
    if (!at.inside) continue;
    const opmath<T> loss = pixel_loss(p.in, tile, at);
    if (p.local != nullptr) p.local[(tile.image * p.in.height + at.row) * p.in.width + at.column] = loss;
    sum += double(loss);
  }
  if (p.partials == nullptr) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) p.partials[blockIdx.x] = sum;
}

template <class S>
__global__ void __launch_bounds__(threads) sum_kernel(SumPartials<S> p) {
  double sum = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < p.count; i += threads) sum += load(p.partials + i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *p.loss = S(sum / p.divisor);
}

}  // namespace

int64_t masked_backwarp_loss_partials(int64_t batch, int64_t height, int64_t width) {
  return LossTiles{batch, 1, height, width}.count();
}

template <class T>
cudaError_t masked_backwarp_loss(const MaskedBackwarpLoss<T>& p, cudaStream_t stream) {
  const int64_t blocks = masked_backwarp_loss_partials(p.in.batch, p.in.height, p.in.width);
  return launch(loss_kernel<T>, blocks, threads, 0, stream, p);
}

template <class S>
cudaError_t sum_partials(const SumPartials<S>& p, cudaStream_t stream) {
  return launch(sum_kernel<S>, 1, threads, 0, stream, p);
}

template cudaError_t sum_partials(const SumPartials<float>&, cudaStream_t);
template cudaError_t sum_partials(const SumPartials<double>&, cudaStream_t);

#define INSTANTIATE(T) template cudaError_t masked_backwarp_loss(const MaskedBackwarpLoss<T>&, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
