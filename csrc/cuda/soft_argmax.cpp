#include "soft_argmax.h"

#include "glue.h"

namespace internet::cuda {
namespace {

void check_arguments(const Tensor& logits, const OptionalTensor& map) {
  STD_TORCH_CHECK(logits.dim() == 4 && logits.size(2) * logits.size(3) > 0,
                  "logits: expected (B, K, H, W) with a pixel");
  if (!map) return;
  const int64_t maps = map->dim() == 5 && map->size(1) == 1 ? 1 : logits.size(1);
  check_shape("jacobian_map", *map, {logits.size(0), maps, 4, logits.size(2), logits.size(3)});
  STD_TORCH_CHECK(map->scalar_type() == logits.scalar_type(), "jacobian_map: unexpected dtype");
  STD_TORCH_CHECK(map->device() == logits.device(), "jacobian_map: unexpected device");
}

// One map for a single anchor is as good as its own.
bool is_shared(const Tensor& logits, const Tensor& map) { return map.size(1) == 1 && logits.size(1) != 1; }

template <class T>
HeatMaps<T> heat_maps(const Tensor& logits, const OptionalTensor& map, double temperature,
                      bool align_corners) {
  return {.grid = pixel_grid<opmath<T>>(logits.size(0), logits.size(2), logits.size(3), align_corners),
          .logits = strided<const T, 4>(logits),
          .map = strided<const T, 5>(map),
          .anchors = logits.size(1),
          .shared_map = map && is_shared(logits, *map),
          .per_temperature = opmath<T>(1 / temperature)};
}

std::tuple<Tensor, Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map, double temperature,
                                           bool align_corners) {
  check_arguments(logits, jacobian_map);
  const Device device(logits);
  const int64_t batch = logits.size(0), anchors = logits.size(1);
  const ScalarType type = motion_type(logits);
  Tensor kp = empty<3>({batch, anchors, 2}, type, logits);
  Tensor jac = jacobian_map ? empty<4>({batch, anchors, 2, 2}, type, logits) : nothing(kp);
  Tensor statistics = empty<3>({batch, anchors, 2}, type, logits);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const HeatMaps<T> in = heat_maps<T>(logits, jacobian_map, temperature, align_corners);
    const int64_t tiles = tiles_of(in);
    const Tensor partials =
        empty<4>({batch, anchors, tiles, int64_t(sizeof(HeatPartial<S>) / sizeof(S))}, type, logits);
    check(soft_argmax_forward<T>({.in = in, .tiles = tiles, .partials = data<HeatPartial<S>>(partials)},
                                 device.stream()));
    check(soft_argmax_merge<S>({.planes = batch * anchors,
                                .tiles = tiles,
                                .partials = data<const HeatPartial<S>>(partials),
                                .per_temperature = in.per_temperature,
                                .kp = data<S>(kp),
                                .jac = jacobian_map ? data<S>(jac) : nullptr,
                                .statistics = data<S>(statistics)},
                               device.stream()));
  });
  return {kp, jac, statistics};
}

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor statistics,
                                    double temperature, bool align_corners, bool need_logits, bool need_map) {
  check_arguments(logits, jacobian_map);
  const int64_t batch = logits.size(0), anchors = logits.size(1);
  check_motion("kp", kp, logits, {batch, anchors, 2});
  check_motion("statistics", statistics, logits, {batch, anchors, 2});
  if (grad_kp) check_motion("grad_kp", *grad_kp, logits, {batch, anchors, 2});
  if (jacobian_map) check_motion("jac", jac, logits, {batch, anchors, 2, 2});
  if (grad_jac) check_motion("grad_jac", *grad_jac, logits, {batch, anchors, 2, 2});
  const Device device(logits);
  const bool with_map = jacobian_map && grad_jac;  // without a gradient, nothing comes of the map
  OptionalTensor grad_logits, grad_map;
  if (need_logits) grad_logits = empty_image_like(logits);
  if (need_map && jacobian_map) grad_map = empty_maps_like(*jacobian_map);
  if (grad_map && !with_map) torch::stable::zero_(*grad_map);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const OptionalTensor none;
    const SoftArgmaxBackward<T> p{
        .in = heat_maps<T>(logits, with_map ? jacobian_map : none, temperature, align_corners),
        .kp = strided<const S, 3>(kp),
        .statistics = strided<const S, 3>(statistics),
        .grad_kp = strided<const S, 3>(grad_kp),
        .jac = with_map ? strided<const S, 4>(jac) : Strided<const S, 4>{},
        .grad_jac = strided<const S, 4>(with_map ? grad_jac : none),
        .grad_logits = strided<T, 4>(grad_logits),
        .grad_map = strided<T, 5>(with_map ? grad_map : none)};
    if (grad_logits || (grad_map && with_map)) check(soft_argmax_backward(p, device.stream()));
  });
  return {grad_logits.value_or(nothing(logits)), grad_map.value_or(nothing(logits))};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
