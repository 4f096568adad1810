// The loss, backward: a thread does a pixel, and computes its residual again. Its gradient by the sample goes
// to the sums of four pixels of the output; dot products with those four give the gradient by the flow.
#include "backwarp_pixel.h"
#include "gradient_adder.h"
#include "launch.h"
#include "masked_backwarp_loss.h"
#include "row_gifts.h"
#include "tiles.h"
#include "vectors.h"

namespace internet::cuda {
namespace {

constexpr int threads = 128;
using LossTiles = Tiles<warp_size, threads / warp_size>;
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

template <class T>
__global__ void __launch_bounds__(threads) backward_kernel(MaskedBackwarpLossBackward<T> p) {
  using S = opmath<T>;
  const BackwarpInputs<T>& in = p.in;
  const LossTiles tiles{in.batch, 1, in.height, in.width};
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const int64_t image = tile.image;
  const TilePixel at = tile_pixel(tiles, tile, threadIdx.x);
  BackwarpPixel<S> pixel{};
  S grad = 0;
  if (at.inside) {
    pixel = backwarp_pixel(in, image, at.row, at.column);
    const auto& stride = p.grad_loss.stride;
    grad = p.grad_scale *
           load(p.grad_loss.data + image * stride[0] + at.row * stride[2] + at.column * stride[3]);
  }
  const BilinearSample<S>& s = pixel.sample;
  const HandingOn<S> hand(s);
  const auto from = footprint(s, in.output.stride).corners(), to = footprint(s, p.sums.stride).corners();
  const bool need_output = p.sums.data != nullptr, need_target = p.grad_target.data != nullptr;
  const T* output = in.output.data + image * in.output.stride[0];
  const T* target = in.target.data + image * in.target.stride[0] + at.row * in.target.stride[2] +
                    at.column * in.target.stride[3];
  T* grad_target = nullptr;
  if (need_target) {
    grad_target = p.grad_target.data + image * p.grad_target.stride[0] + at.row * p.grad_target.stride[2] +
                  at.column * p.grad_target.stride[3];
  }
  auto adder = GradientAdder<S>(p.sums).from(image * p.sums.stride[0]);
  math::Corners<S> dots{};
  S by_mask = 0;
  for (int64_t c = 0; c < in.channels; ++c) {
    math::Corners<S> values{};
    math::ResidualGradient<S> g{};
    if (at.inside) {
      const S wanted = load(target);
      S sample = 0;
      if (s.reads) {
        values = {load(output + from.nw), load(output + from.ne), load(output + from.sw),
                  load(output + from.se)};
        sample = math::weighted_sum(s.weights, values);
      }
      if (pixel.counts) g = residual_gradient(in.norm, sample - wanted, pixel.mask, grad);
      if (need_target) *grad_target = narrow<T>(-g.sample);
      by_mask += g.mask;
      if (s.reads) math::add_scaled(dots, g.sample, values);
    }
    if (need_output) give(adder, s, hand, to, g.sample);
    output += in.output.stride[1];
    target += in.target.stride[1];
    if (need_target) grad_target += p.grad_target.stride[1];
    adder = adder.from(p.sums.stride[1]);
  }
  if (!at.inside) return;
  const int64_t map = in.height * in.width, place = at.row * in.width + at.column;
  if (p.grad_flow != nullptr) {
    const bool border = in.padding == math::Padding::border;
    const auto x = math::axis(pixel.x, S(in.width), border), y = math::axis(pixel.y, S(in.height), border);
    const auto g = math::motion_gradient(x, y, S(1), dots, S(1), S(1));
    p.grad_flow[2 * image * map + place] = g.x;
    p.grad_flow[(2 * image + 1) * map + place] = g.y;
  }
  if (p.grad_mask != nullptr) p.grad_mask[image * map + place] = by_mask;
}

}  // namespace

template <class T>
cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>& p, cudaStream_t stream) {
  const LossTiles tiles{p.in.batch, 1, p.in.height, p.in.width};
  return launch(backward_kernel<T>, tiles.count(), threads, 0, stream, p);
}

#define INSTANTIATE(T) \
  template cudaError_t masked_backwarp_loss_backward(const MaskedBackwarpLossBackward<T>&, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
