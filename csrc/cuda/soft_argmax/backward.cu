// A thread computes the gradients of its pixels independently: for one anchor, or for all if they share a
// map.
#include "cuda/runtime/instantiate.h"
#include "cuda/soft_argmax/runs.h"
#include "cuda/soft_argmax/tiles.h"

namespace internet::cuda {
namespace {

template <class S>
INTERNET_HD S at(const Strided<const S, 3>& t, int64_t image, int64_t anchor, int i) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + i * t.stride[2]];
}
template <int N, class S>
INTERNET_HD S at(const Strided<const S, 4>& t, int64_t image, int64_t anchor, int c) {
  return t.data[image * t.stride[0] + anchor * t.stride[1] + c / N * t.stride[2] + c % N * t.stride[3]];
}

template <bool with_map, class T, int N>
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
#pragma unroll
  for (int c = 0; with_map && c < N * N; ++c) {
    g.jac[c] = at<N>(p.jac, image, anchor, c);
    g.grad_jac[c] = at<N>(p.grad_jac, image, anchor, c);
  }
  S covariance[N * N] = {}, grad_covariance[N * N] = {};
  if (p.grad_covariance.data != nullptr) {
#pragma unroll
    for (int c = 0; c < N * N; ++c) {
      covariance[c] = at<N>(p.covariance, image, anchor, c);
      grad_covariance[c] = at<N>(p.grad_covariance, image, anchor, c);
    }
  }
  math::set_covariance(g, covariance, grad_covariance);
  return g;
}

// An anchor's planes.
template <bool vectors, int run, class T, int N>
struct Anchored {
  using S = opmath<T>;
  const SoftArgmaxBackward<T, N>& p;
  const T *logits, *map;
  T *grad_logits, *grad_map;

  INTERNET_MEMBER Anchored(const SoftArgmaxBackward<T, N>& params, int64_t image, int64_t anchor)
      : p(params),
        logits(plane_at(p.in.logits, image, anchor)),
        map(plane_at(p.in.map, image, p.in.map_of(anchor))),
        grad_logits(plane_at(p.grad_logits, image, anchor)),
        grad_map(plane_at(p.grad_map, image, p.in.map_of(anchor))) {}

  __device__ __forceinline__ Run<T, run> load_logits(const Place& at) const {
    return load_run<vectors, run>(logits + offset(p.in.logits, at), p.in.logits.stride[4],
                                  pixels_of_run(p.in, at), S(0));
  }
  __device__ __forceinline__ MatrixRun<T, run, N> load_map(const Place& at) const {
    return load_matrices<vectors, run, N>(p.in.map, map + offset(p.in.map, at), pixels_of_run(p.in, at),
                                          matrices_in_vectors<const T, N>(p.in.map));
  }
  __device__ __forceinline__ void store_logits(const Place& at, const S (&grad)[run]) const {
    if (p.grad_logits.data == nullptr) return;
    store_run<vectors>(grad_logits + offset(p.grad_logits, at), p.grad_logits.stride[4],
                       pixels_of_run(p.in, at), grad);
  }
  __device__ __forceinline__ void store_map(const Place& at, const S (&grad)[N * N][run]) const {
    if (p.grad_map.data == nullptr) return;
    store_matrices<vectors, N>(p.grad_map, grad_map + offset(p.grad_map, at), pixels_of_run(p.in, at),
                               matrices_in_vectors<T, N>(p.grad_map), grad);
  }
};

// Heat and gradient of a run of logits.
template <class T, int run>
struct PulledRun {
  opmath<T> heat[run], grad[run];
};
template <bool with_map, class T, int run, class S, int N>
INTERNET_HD PulledRun<T, run> pull_run(const math::HeatGradient<S, N>& g, const RunCoordinates<S, N>& z,
                                       const Run<T, run>& logits, const MatrixRun<T, run, N>& map,
                                       S per_temperature) {
  const math::HeatRow<S> row = math::heat_row(g, z.of_row);
  PulledRun<T, run> pulled;
#pragma unroll
  for (int i = 0; i < run; ++i) {
    S matrix[N * N];
#pragma unroll
    for (int c = 0; with_map && c < N * N; ++c) matrix[c] = widen(map.entry[c].value[i]);
    const S heat = math::heat_weight(widen(logits.value[i]), g.reference, per_temperature) * g.per_mass;
    pulled.heat[i] = heat;
    pulled.grad[i] = math::heat_logit_gradient<with_map>(g, row, heat, z.x(i), matrix, per_temperature);
  }
  return pulled;
}

// For one anchor, which has a map of its own or none.
template <bool vectors, bool with_map, class T, int N>
__device__ __forceinline__ void pull_anchor(const SoftArgmaxBackward<T, N>& p, const Share& share) {
  using S = opmath<T>;
  constexpr int run = run_length<T, with_map>, batch = with_map ? 1 : 8 / run;
  const HeatMaps<T, N>& in = p.in;
  const Anchored<vectors, run, T, N> of(p, share.image, share.anchor());
  const auto g = plane_gradient<with_map>(p, share.image, share.anchor());
  each_run<batch>(in.by, share, [&](const Place(&at)[batch]) {
    Run<T, run> logits[batch];
    MatrixRun<T, run, N> map;
#pragma unroll
    for (int b = 0; b < batch; ++b) logits[b] = of.load_logits(at[b]);
    if constexpr (with_map) map = of.load_map(at[0]);
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const auto pulled = pull_run<with_map>(g, coordinates(in, at[b]), logits[b], map, in.per_temperature);
      of.store_logits(at[b], pulled.grad);
      if constexpr (with_map) {
        S grad_map[N * N][run];
#pragma unroll
        for (int c = 0; c < N * N; ++c) {
#pragma unroll
          for (int i = 0; i < run; ++i) grad_map[c][i] = pulled.heat[i] * g.grad_jac[c];
        }
        of.store_map(at[b], grad_map);
      }
    }
  });
}

// For all anchors, which share a map.
template <bool vectors, class T, int N>
__device__ __forceinline__ void pull_anchors(const SoftArgmaxBackward<T, N>& p, const Share& share) {
  using S = opmath<T>;
  constexpr int run = run_length<T, true>;
  const HeatMaps<T, N>& in = p.in;
  each_run<1>(in.by, share, [&](const Place(&at)[1]) {
    const auto map = Anchored<vectors, run, T, N>(p, share.image, 0).load_map(at[0]);
    S grad_map[N * N][run] = {};
#pragma unroll 1
    for (int64_t anchor = 0; anchor < in.anchors; ++anchor) {
      const Anchored<vectors, run, T, N> of(p, share.image, anchor);
      const auto g = plane_gradient<true>(p, share.image, anchor);
      const auto logits = of.load_logits(at[0]);
      const auto pulled = pull_run<true>(g, coordinates(in, at[0]), logits, map, in.per_temperature);
      of.store_logits(at[0], pulled.grad);
#pragma unroll
      for (int c = 0; c < N * N; ++c) {
#pragma unroll
        for (int i = 0; i < run; ++i) grad_map[c][i] += pulled.heat[i] * g.grad_jac[c];
      }
    }
    Anchored<vectors, run, T, N>(p, share.image, 0).store_map(at[0], grad_map);
  });
}

enum class Maps { none, own, shared };

// Minimum number of resident blocks per multiprocessor, which limits the registers.
template <bool vectors, Maps maps, class T, int N>
constexpr int backward_blocks = sizeof(T) == sizeof(double) || maps == Maps::shared ? 1
                                : maps == Maps::none                                ? 6 - N
                                : vectors && N == 2 && sizeof(T) == sizeof(float)   ? 3
                                                                                    : 4 - N;

template <bool vectors, Maps maps, class T, int N>
__global__ void __launch_bounds__(block_threads, (backward_blocks<vectors, maps, T, N>))
    backward_kernel(SoftArgmaxBackward<T, N> p) {
  const Share share(p.in);
  if (!share.is_of(p.in)) return;
  if constexpr (maps == Maps::shared) {
    pull_anchors<vectors>(p, share);
  } else {
    pull_anchor<vectors, maps == Maps::own>(p, share);
  }
}

template <Maps maps, class T, int N>
cudaError_t launch_backward(const SoftArgmaxBackward<T, N>& p, cudaStream_t stream) {
  const int64_t width = p.in.grid.width();
  const bool vectors = p.in.by.columns == 1 && in_vectors(p.in.logits, width) &&
                       in_vectors(p.in.map, width) && in_vectors(p.grad_logits, width) &&
                       in_vectors(p.grad_map, width);
  auto kernel = vectors ? backward_kernel<true, maps, T, N> : backward_kernel<false, maps, T, N>;
  return launch_tiles(kernel, 0, p, stream);
}

}  // namespace

template <class T, int N>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>& p, cudaStream_t stream) {
  if (p.in.map.data == nullptr) return launch_backward<Maps::none>(p, stream);
  if (p.in.shared_map) return launch_backward<Maps::shared>(p, stream);
  return launch_backward<Maps::own>(p, stream);
}

#define INSTANTIATE(T, N) \
  template cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>&, cudaStream_t);
INTERNET_EACH_STORAGE_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
