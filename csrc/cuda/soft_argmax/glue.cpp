#include "cuda/runtime/glue.h"

#include "arguments/soft_argmax.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {
namespace {

// How many runs of pixels a thread processes: enough to be worth its beginning and its end.
constexpr int forward_turns = 8, backward_turns = 4;

// `with_map`: whether the Jacobian maps are read. `anchors_in_turn`: a thread processes its pixels for all
// anchors.
template <class T, int N>
HeatMaps<T, N> heat_maps(const SoftArgmaxArguments& a, bool with_map, int turns,
                         bool anchors_in_turn = false) {
  using S = opmath<T>;
  int64_t size[N];
  for (int axis = 0; axis < N; ++axis) size[axis] = a.logits.size(2 + axis);
  const auto grid = pixel_grid<S, N>(a.batch(), size, a.align_corners);
  STD_TORCH_CHECK(grid.pixels() <= most_pixels, "logits: expected at most ", most_pixels,
                  " pixels in a heat map, got ", grid.pixels());
  const auto logits = over_slices<const T, 2>(a.logits);
  const int run = with_map ? run_length<T, true> : run_length<T, false>;
  const bool side_by_side = logits.stride[1] < logits.stride[4] && !anchors_in_turn;
  return {.grid = grid,
          .logits = logits,
          .map = over_slices<const T, 3>(with_map ? a.jacobian_map : std::nullopt),
          .anchors = a.anchors(),
          .shared_map = with_map && a.shared_map(),
          .anchors_in_turn = anchors_in_turn,
          .per_temperature = S(1 / a.temperature),
          .by = arrange(grid, side_by_side ? a.anchors() : 1, run, turns)};
}

// Memory for one P for each tile of each heat map.
template <class P, class S>
Tensor empty_partials(const SoftArgmaxArguments& a, int64_t tiles) {
  return empty<4>({a.batch(), a.anchors(), tiles, int64_t(sizeof(P) / sizeof(S))}, compute_type(a.logits),
                  a.logits);
}

template <class T, int N, class S = opmath<T>>
void expectations(const SoftArgmaxArguments& a, const SoftArgmaxResults& results, cudaStream_t stream) {
  const bool with_map = a.jacobian_map.has_value();
  const HeatMaps<T, N> in = heat_maps<T, N>(a, with_map, forward_turns);
  const int64_t tiles = in.by.tiles;
  const Tensor partials = empty_partials<HeatPartial<S, N>, S>(a, tiles);
  check(soft_argmax_forward<T, N>({.in = in, .partials = data<HeatPartial<S, N>>(partials)}, stream));
  check(soft_argmax_merge<S, N>({.planes = a.batch() * a.anchors(),
                                 .tiles = tiles,
                                 .partials = data<const HeatPartial<S, N>>(partials),
                                 .per_temperature = in.per_temperature,
                                 .kp = data<S>(results.kp),
                                 .jac = a.jacobian_map ? data<S>(results.jac) : nullptr,
                                 .statistics = data<S>(results.statistics)},
                                stream));
}

template <class T, int N, class S = opmath<T>>
void covariances(const SoftArgmaxArguments& a, const SoftArgmaxResults& results, cudaStream_t stream) {
  const HeatMaps<T, N> in = heat_maps<T, N>(a, false, forward_turns);
  const int64_t tiles = in.by.tiles;
  const Tensor partials = empty_partials<math::HeatMoments<S, N>, S>(a, tiles);
  check(soft_argmax_moments<T, N>({.in = in,
                                   .kp = data<const S>(results.kp),
                                   .statistics = data<const S>(results.statistics),
                                   .partials = data<math::HeatMoments<S, N>>(partials)},
                                  stream));
  check(soft_argmax_covariance<S, N>({.planes = a.batch() * a.anchors(),
                                      .tiles = tiles,
                                      .partials = data<const math::HeatMoments<S, N>>(partials),
                                      .statistics = data<const S>(results.statistics),
                                      .covariance = data<S>(results.covariance)},
                                     stream));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map,
                                                   double temperature, bool covariance, bool align_corners) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const Device device(logits);
  const auto results = SoftArgmaxResults::empty_for(a, covariance);
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    expectations<T, axes()>(a, results, device.stream());
    if (covariance) covariances<T, axes()>(a, results, device.stream());
  });
  return results.result();
}

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac,
                                    OptionalTensor grad_covariance, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor covariance,
                                    Tensor statistics, double temperature, bool align_corners,
                                    bool need_logits, bool need_map) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const SoftArgmaxGradients given{{kp, jac, covariance, statistics}, grad_kp, grad_jac, grad_covariance};
  given.check(a);
  const Device device(logits);
  const SoftArgmaxInputGradients wanted(a, given, need_logits, need_map);
  if (!wanted.anything_to_write()) return wanted.result(logits);
  const bool with_map = grad_jac.has_value();  // if the Jacobians have no gradient, the map is not needed
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes();
    const auto none = Strided<const S, 4>{};
    const SoftArgmaxBackward<T, N> p{
        .in = heat_maps<T, N>(a, with_map, backward_turns, with_map && a.shared_map()),
        .kp = strided<const S, 3>(kp),
        .statistics = strided<const S, 3>(statistics),
        .grad_kp = strided<const S, 3>(grad_kp),
        .jac = with_map ? strided<const S, 4>(jac) : none,
        .covariance = grad_covariance ? strided<const S, 4>(covariance) : none,
        .grad_jac = strided<const S, 4>(grad_jac),
        .grad_covariance = strided<const S, 4>(grad_covariance),
        .grad_logits = over_slices<T, 2>(wanted.logits),
        .grad_map = over_slices<T, 3>(wanted.map_to_write())};
    check(soft_argmax_backward(p, device.stream()));
  });
  return wanted.result(logits);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
