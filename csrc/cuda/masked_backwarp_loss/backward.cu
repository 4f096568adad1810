// The loss, backward: a thread computes one pixel, and recomputes its residual. The gradient with respect to
// its sample is added to the sums of four pixels of the output; the dot products with those four give the
// gradient with respect to the flow.
#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/masked_backwarp_loss/pixel.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/runtime/vectors.h"
#include "cuda/scatter/slab_scatter.h"

namespace internet::cuda {
namespace {

constexpr int threads = 128, rows_of_a_thread = 8;
using LossTiles = Tiles<warp_size, threads / warp_size * rows_of_a_thread>;
constexpr int channels_at_once = 3;  // most frames have three
template <class S>
__device__ __forceinline__ math::ResidualGradient<S> residual_gradient(math::Penalty norm, S difference,
                                                                       S mask, S grad) {
  math::ResidualGradient<S> g{};
  with_penalty(norm, [&](auto penalty) {
    g = math::residual_gradient<decltype(penalty)::value>(difference, mask, grad);
  });
  return g;
}

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class Index, class T>
constexpr int least_blocks = sizeof(T) == 8       ? 2
                             : sizeof(Index) == 8 ? 4
                                                  : 5;

template <class Index, class T, bool fixed_point>
__global__ void __launch_bounds__(threads, (least_blocks<Index, T>))
    backward_kernel(MaskedBackwarpLossBackward<T> p) {
  using S = opmath<T>;
  const BackwarpInputs<T>& in = p.in;
  const LossTiles tiles{in.batch, 1, in.height, in.width};
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const int64_t image = tile.image;
  const Index lane = threadIdx.x % warp_size, width = in.width;
  const bool inside = Index(tile.column) + lane < width;
  const Index column = inside ? Index(tile.column) + lane : width - 1;
  const Index first = Index(tile.row) + threadIdx.x / warp_size * rows_of_a_thread;
  const Index end = min(first + rows_of_a_thread, Index(in.height));
  if (first >= end) return;  // a whole warp
  const SumStrides<Index, 2> to = {{Index(p.sums.stride[3]), Index(p.sums.stride[2])},
                                   Index(p.sums.stride[1])};
  const auto sums = GradAccumulator<S>(p.sums).from(image * p.sums.stride[0]);
  const auto& grad_stride = p.grad_loss.stride;
  const S* grad_loss = p.grad_loss.data + image * grad_stride[0] + column * Index(grad_stride[3]);
  T* grad_target =
      p.grad_target.data + image * p.grad_target.stride[0] + column * Index(p.grad_target.stride[3]);
  const int64_t map = in.height * in.width, place = image * map + column;
  Index channel = 0;
  do {  // without channels the gradients of the motion are 0
    const int count = min(Index(in.channels) - channel, Index(channels_at_once));
    BackwarpColumn<T, Index> pixels(in, image, column, first, end);
    SlabScatter<Index, S, 2, channels_at_once, fixed_point> scatter(sums.from(channel * p.sums.stride[1]),
                                                                    to);
#pragma unroll 1
    for (Index row = first; row < end; ++row) {
      const BackwarpPixel<S> pixel = pixels.at(row);
      const T* target = pixels.target + row * Index(in.target.stride[2]);
      const S grad = p.grad_scale * load(grad_loss + row * Index(grad_stride[2]));
      const auto from = pixel.corners(Index(in.output.stride[2]), Index(in.output.stride[3]));
      const auto weights = pixel.weights();
      math::Corners<S> values[channels_at_once]{};
      S wanted[channels_at_once]{}, grad_sample[channels_at_once]{};
#pragma unroll
      for (int c = 0; c < channels_at_once; ++c) {
        if (c >= count) continue;
        const Index at = (channel + c) * Index(in.output.stride[1]);
        values[c] = {load(pixels.output + (at + from.nw)), load(pixels.output + (at + from.ne)),
                     load(pixels.output + (at + from.sw)), load(pixels.output + (at + from.se))};
        wanted[c] = load(target + (channel + c) * Index(in.target.stride[1]));
      }
      math::Corners<S> dots{};
      S grad_mask = 0;
#pragma unroll
      for (int c = 0; c < channels_at_once; ++c) {
        if (c >= count) continue;
        math::ResidualGradient<S> g{};
        const S sample = pixel.reads ? math::weighted_sum(weights, values[c]) : S(0);
        if (pixel.counts) g = residual_gradient(in.norm, sample - wanted[c], pixel.mask, grad);
        grad_sample[c] = g.sample;
        grad_mask += g.mask;
        if (pixel.reads) math::add_scaled(dots, g.sample, values[c]);
        if (p.grad_target.data != nullptr && inside) {
          grad_target[row * Index(p.grad_target.stride[2]) + (channel + c) * Index(p.grad_target.stride[1])] =
              narrow<T>(-g.sample);
        }
      }
      if (p.sums.data != nullptr) {
        const math::Axis<S> axes[2] = {pixel.x, pixel.y};
        scatter.add(axes, pixel.reads && inside, grad_sample, count);
      }
      if (!inside) continue;
      const Index fine = row * width;
      if (p.grad_flow != nullptr) {
        const auto g = math::motion_gradient(pixel.x, pixel.y, S(1), dots, S(1), S(1));
        S* grad_flow = p.grad_flow + image * map + place;
        grad_flow[fine] = channel == 0 ? g.x : grad_flow[fine] + g.x;
        grad_flow[map + fine] = channel == 0 ? g.y : grad_flow[map + fine] + g.y;
      }
      if (p.grad_mask != nullptr) {
        p.grad_mask[place + fine] = channel == 0 ? grad_mask : p.grad_mask[place + fine] + grad_mask;
      }
    }
    if (p.sums.data != nullptr) scatter.finish(count);
    channel += channels_at_once;
  } while (channel < in.channels);
}

}  // namespace

template <class T>
cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>& p, cudaStream_t stream) {
  const LossTiles tiles{p.in.batch, 1, p.in.height, p.in.width};
  const int64_t sizes[3] = {p.in.channels, p.in.height, p.in.width};
  const bool narrow_offsets =
      fits_32_bits(p.in) && fits_32_bits(p.sums.stride, sizes) && fits_32_bits(p.grad_target, sizes);
  const auto with_sums = [&](auto fixed_point) {
    constexpr bool fixed = decltype(fixed_point)::value;
    auto kernel = narrow_offsets ? backward_kernel<int32_t, T, fixed> : backward_kernel<int64_t, T, fixed>;
    return launch(kernel, tiles.count(), threads, 0, stream, p);
  };
  return p.sums.scale == nullptr ? with_sums(std::false_type()) : with_sums(std::true_type());
}

#define INSTANTIATE(T) \
  template cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>&, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
