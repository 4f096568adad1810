#include "cuda/runtime/glue.h"

#include "arguments/soft_argmax.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {
namespace {

// `with_map`: whether the Jacobian maps are read.
template <class T>
HeatMaps<T> heat_maps(const SoftArgmaxArguments& a, bool with_map) {
  return {.grid = pixel_grid<opmath<T>, 2>(a.batch(), {a.height(), a.width()}, a.align_corners),
          .logits = strided<const T, 4>(a.logits),
          .map = strided<const T, 5>(with_map ? a.jacobian_map : std::nullopt),
          .anchors = a.anchors(),
          .shared_map = with_map && a.shared_map(),
          .per_temperature = opmath<T>(1 / a.temperature)};
}

std::tuple<Tensor, Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map, double temperature,
                                           bool align_corners) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const Device device(logits);
  const auto results = SoftArgmaxResults::empty_for(a);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const HeatMaps<T> in = heat_maps<T>(a, jacobian_map.has_value());
    const int64_t tiles = tiles_of(in);
    const Tensor partials =
        empty<4>({a.batch(), a.anchors(), tiles, int64_t(sizeof(HeatPartial<S>) / sizeof(S))},
                 compute_type(logits), logits);
    check(soft_argmax_forward<T>({.in = in, .tiles = tiles, .partials = data<HeatPartial<S>>(partials)},
                                 device.stream()));
    check(soft_argmax_merge<S>({.planes = a.batch() * a.anchors(),
                                .tiles = tiles,
                                .partials = data<const HeatPartial<S>>(partials),
                                .per_temperature = in.per_temperature,
                                .kp = data<S>(results.kp),
                                .jac = jacobian_map ? data<S>(results.jac) : nullptr,
                                .statistics = data<S>(results.statistics)},
                               device.stream()));
  });
  return results.result();
}

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor statistics,
                                    double temperature, bool align_corners, bool need_logits, bool need_map) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const SoftArgmaxGradients given{{kp, jac, statistics}, grad_kp, grad_jac};
  given.check(a);
  const Device device(logits);
  const SoftArgmaxInputGradients wanted(a, given, need_logits, need_map);
  if (!wanted.anything_to_write()) return wanted.result(logits);
  const bool with_map = grad_jac.has_value();  // without a gradient, the map does not matter
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const SoftArgmaxBackward<T> p{.in = heat_maps<T>(a, with_map),
                                  .kp = strided<const S, 3>(kp),
                                  .statistics = strided<const S, 3>(statistics),
                                  .grad_kp = strided<const S, 3>(grad_kp),
                                  .jac = with_map ? strided<const S, 4>(jac) : Strided<const S, 4>{},
                                  .grad_jac = strided<const S, 4>(grad_jac),
                                  .grad_logits = strided<T, 4>(wanted.logits),
                                  .grad_map = strided<T, 5>(wanted.map_to_write())};
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
