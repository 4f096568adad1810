// A thread computes the gradients of its pixels independently: for one anchor, or for all if they share a
// map.
#include "cuda/runtime/instantiate.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <class T>
constexpr int backward_blocks = sizeof(T) == 8 ? 1 : 2;

template <class S>
INTERNET_HD S at(const Strided<const S, 3>& t, int64_t image, int64_t anchor, int i) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + i * t.stride[2]];
}
template <int N, class S>
INTERNET_HD S at(const Strided<const S, 4>& t, int64_t image, int64_t anchor, int c) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + c / N * t.stride[2] + c % N * t.stride[3]];
}

template <class T, int N>
INTERNET_HD math::HeatGradient<opmath<T>, N> plane_gradient(const SoftArgmaxBackward<T, N>& p, int64_t image,
                                                            int64_t anchor) {
  using S = opmath<T>;
  math::HeatGradient<S, N> g;
  g.reference = math::heat_reference(at(p.statistics, image, anchor, 0));
  g.per_mass = 1 / at(p.statistics, image, anchor, 1);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    g.position[i] = at(p.kp, image, anchor, i);
    g.grad_position[i] = at(p.grad_kp, image, anchor, i);
  }
  S covariance[N * N], grad_covariance[N * N];
#pragma unroll
  for (int c = 0; c < N * N; ++c) {
    g.jac[c] = at<N>(p.jac, image, anchor, c);
    g.grad_jac[c] = at<N>(p.grad_jac, image, anchor, c);
    covariance[c] = at<N>(p.covariance, image, anchor, c);
    grad_covariance[c] = at<N>(p.grad_covariance, image, anchor, c);
  }
  math::set_covariance(g, covariance, grad_covariance);
  return g;
}

// The gradients of one anchor for a run of pixels. The map's gradient is added to that of the other anchors.
template <int run, class T, int N>
INTERNET_HD void pull_anchor(const SoftArgmaxBackward<T, N>& p, const Place& place, int64_t image,
                             int64_t anchor, const opmath<T> (&map)[run][N * N],
                             opmath<T> (&grad_map)[run][N * N]) {
  using S = opmath<T>;
  const math::HeatGradient<S, N> g = plane_gradient(p, image, anchor);
  const RunCoordinates<S, N> z = coordinates(p.in, place);
  const math::HeatRow<S> row = math::heat_row(g, z.of_row);
  S logit[run], grad[run];
  line<run>(p.in, p.in.logits, image, anchor, place).load(logit);
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S heat = math::heat_weight(logit[i], g.reference, p.in.per_temperature) * g.per_mass;
    const S x = S(place.column + i) * p.in.grid.step[0] + p.in.grid.start[0];
    grad[i] = math::heat_logit_gradient<true>(g, row, heat, x, map[i], p.in.per_temperature);
#pragma unroll
    for (int c = 0; c < N * N; ++c) grad_map[i][c] += heat * g.grad_jac[c];
  }
  if (p.grad_logits.data != nullptr) line<run>(p.in, p.grad_logits, image, anchor, place).store(grad);
}

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads, backward_blocks<T>)
    backward_kernel(SoftArgmaxBackward<T, N> p) {
  using S = opmath<T>;
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t tiles = ceiling(in.grid.pixels(), by.lanes * run);
  const Share share(blockIdx.x, tiles, in.shared_map ? 1 : ceiling(in.anchors, by.columns), by.columns);
  const int lane = threadIdx.x / by.columns;
  const int64_t anchor = share.first_anchor + threadIdx.x % by.columns;
  const Place place((share.tile * by.lanes + lane) * run, in.grid.width());
  if (lane >= by.lanes || place.row >= in.rows()) return;
  S map[run][N * N] = {}, grad_map[run][N * N] = {};
  if (in.shared_map) {
    if (in.map.data != nullptr) line<run>(in, in.map, share.image, 0, place).load(map);
    for (int64_t k = 0; k < in.anchors; ++k) pull_anchor<run>(p, place, share.image, k, map, grad_map);
  } else if (anchor < in.anchors) {
    if (in.map.data != nullptr) line<run>(in, in.map, share.image, anchor, place).load(map);
    pull_anchor<run>(p, place, share.image, anchor, map, grad_map);
  } else {
    return;
  }
  if (p.grad_map.data != nullptr) {
    line<run>(in, p.grad_map, share.image, in.map_of(anchor), place).store(grad_map);
  }
}

}  // namespace

template <class T, int N>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>& p, cudaStream_t stream) {
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t groups = in.shared_map ? 1 : ceiling(in.anchors, by.columns);
  const int64_t blocks = in.grid.batch * ceiling(in.grid.pixels(), by.lanes * by.run) * groups;
  auto kernel = by.run == 1 ? backward_kernel<1, T, N> : backward_kernel<longest_run<N>, T, N>;
  return launch(kernel, blocks, block_threads, 0, stream, p);
}

#define INSTANTIATE(T, N) \
  template cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
