// The loss, backward: a thread computes one pixel, and recomputes its residual. The gradient with respect to
// its sample is added to the sums of four pixels of the output; the dot products with those four give the
// gradient with respect to the flow.
#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/masked_backwarp_loss/pixel.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/runtime/vectors.h"
#include "cuda/scatter/grad_accumulator.h"
#include "cuda/scatter/warp_scatter.h"

namespace internet::cuda {
namespace {

constexpr int threads = 128;
using LossTiles = Tiles<warp_size, threads / warp_size>;
constexpr int channels_at_once = 3;  // most frames have three
static_assert(LossTiles::pixels == threads);

template <class S>
__device__ __forceinline__ math::ResidualGradient<S> residual_gradient(math::Penalty norm, S difference,
                                                                       S mask, S grad) {
  math::ResidualGradient<S> g{};
  with_penalty(norm, [&](auto penalty) {
    g = math::residual_gradient<decltype(penalty)::value>(difference, mask, grad);
  });
  return g;
}

// Minimum number of resident blocks per multiprocessor. Without it, ptxas aims for more and spills.
template <class T>
constexpr int least_blocks = sizeof(T) == 8 ? 4 : 6;

template <class Index, class T>
__global__ void __launch_bounds__(threads, least_blocks<T>) backward_kernel(MaskedBackwarpLossBackward<T> p) {
  using S = opmath<T>;
  const BackwarpInputs<T>& in = p.in;
  const LossTiles tiles{in.batch, 1, in.height, in.width};
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const int64_t image = tile.image;
  const bool inside = tile_pixel(tiles, tile, threadIdx.x).inside;
  const Index row = Index(tile.row) + threadIdx.x / LossTiles::width,
              column = Index(tile.column) + threadIdx.x % LossTiles::width;
  BackwarpPixel<S> pixel{};
  S grad = 0;
  if (inside) {
    pixel = backwarp_pixel(in, image, row, column);
    const auto& stride = p.grad_loss.stride;
    grad = p.grad_scale * load(p.grad_loss.data + image * stride[0] + row * stride[2] + column * stride[3]);
  }
  const BilinearSample<S>& s = pixel.sample;
  const EastMerge merge(s);
  const auto from = footprint<Index>(s, in.output.stride).corners();
  const auto to = footprint<Index>(s, p.sums.stride).corners();
  const Index step = in.output.stride[1], target_step = in.target.stride[1],
              grad_step = p.grad_target.stride[1];
  const bool need_output = p.sums.data != nullptr, need_target = p.grad_target.data != nullptr;
  const T* output = in.output.data + image * in.output.stride[0];
  const T* target = in.target.data + image * in.target.stride[0] + row * Index(in.target.stride[2]) +
                    column * Index(in.target.stride[3]);
  T* grad_target = p.grad_target.data + image * p.grad_target.stride[0] +
                   row * Index(p.grad_target.stride[2]) + column * Index(p.grad_target.stride[3]);
  auto sums = GradAccumulator<S>(p.sums).from(image * p.sums.stride[0]);
  math::Corners<S> dots{};
  S grad_mask = 0;
  auto next = [&](auto at_once) {
    constexpr int channels = decltype(at_once)::value;
    math::Corners<S> values[channels]{};
    S wanted[channels]{};
#pragma unroll
    for (int c = 0; c < channels; ++c, output += step, target += target_step) {
      if (!inside) continue;
      wanted[c] = load(target);
      if (s.reads) {
        values[c] = {load(output + from.nw), load(output + from.ne), load(output + from.sw),
                     load(output + from.se)};
      }
    }
#pragma unroll
    for (int c = 0; c < channels; ++c, grad_target += grad_step) {
      math::ResidualGradient<S> g{};
      const S sample = s.reads ? math::weighted_sum(s.weights, values[c]) : S(0);
      if (pixel.counts) g = residual_gradient(in.norm, sample - wanted[c], pixel.mask, grad);
      if (need_target && inside) *grad_target = narrow<T>(-g.sample);
      grad_mask += g.mask;
      if (s.reads) math::add_scaled(dots, g.sample, values[c]);
      if (need_output) scatter(sums, s, merge, to, g.sample);
      sums = sums.from(p.sums.stride[1]);
    }
  };
  int64_t c = 0;
  for (; c + channels_at_once <= in.channels; c += channels_at_once) next(Constant<channels_at_once>());
  for (; c < in.channels; ++c) next(Constant<1>());
  if (!inside) return;
  const int64_t map = in.height * in.width, place = row * Index(in.width) + column;
  if (p.grad_flow != nullptr) {
    const bool border = in.padding == math::Padding::border;
    const auto x = math::axis(pixel.x, S(in.width), border), y = math::axis(pixel.y, S(in.height), border);
    const auto g = math::motion_gradient(x, y, S(1), dots, S(1), S(1));
    p.grad_flow[2 * image * map + place] = g.x;
    p.grad_flow[(2 * image + 1) * map + place] = g.y;
  }
  if (p.grad_mask != nullptr) p.grad_mask[image * map + place] = grad_mask;
}

}  // namespace

template <class T>
cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>& p, cudaStream_t stream) {
  const LossTiles tiles{p.in.batch, 1, p.in.height, p.in.width};
  const int64_t sizes[3] = {p.in.channels, p.in.height, p.in.width};
  const bool narrow_offsets =
      fits_32_bits(p.in) && fits_32_bits(p.sums.stride, sizes) && fits_32_bits(p.grad_target, sizes);
  auto kernel = narrow_offsets ? backward_kernel<int32_t, T> : backward_kernel<int64_t, T>;
  return launch(kernel, tiles.count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) \
  template cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>&, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
