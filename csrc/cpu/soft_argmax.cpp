#include "soft_argmax.h"

#include <cmath>

#include "glue.h"

namespace internet::cpu {
namespace {

// A group's logits stay in the first-level cache between two passes.
constexpr int64_t pixels_per_group = 2048;

void check(const Tensor& logits, const OptionalTensor& map) {
  STD_TORCH_CHECK(logits.dim() == 4 && logits.size(2) * logits.size(3) > 0,
                  "logits: expected (B, K, H, W) with a pixel");
  if (!map) return;
  int64_t anchors = map->dim() == 5 && map->size(1) == 1 ? 1 : logits.size(1);
  check_shape("jacobian_map", *map, {logits.size(0), anchors, 4, logits.size(2), logits.size(3)});
  STD_TORCH_CHECK(map->scalar_type() == logits.scalar_type(), "jacobian_map: unexpected dtype");
  STD_TORCH_CHECK(map->device() == logits.device(), "jacobian_map: unexpected device");
}

template <class T>
HeatMaps<T> heat_maps(const Tensor& logits, const OptionalTensor& map, double temperature,
                      bool align_corners) {
  int64_t height = logits.size(2), width = logits.size(3);
  int64_t rows = std::clamp<int64_t>(pixels_per_group / width, 1, height);
  HeatMaps<T> in{.logits = strided<const T, 4>(logits),
                 .map = strided<const T, 5>(map),
                 .anchors = logits.size(1),
                 .height = height,
                 .width = width,
                 .rows_per_group = rows,
                 .groups = (height + rows - 1) / rows,
                 .per_temperature = opmath<T>(1 / temperature),
                 .shared_map = map && map->size(1) == 1,
                 .align_corners = align_corners};
  if (in.shared_map) in.map.stride[1] = 0;
  return in;
}

// The groups of one plane together, relative to the largest logit of all.
HeatPartial combine(const HeatPartial* groups, int64_t count, double per_temperature) {
  HeatPartial all{groups[0].largest, {}};
  for (int64_t i = 1; i < count; ++i) all.largest = std::max(all.largest, groups[i].largest);
  for (int64_t i = 0; i < count; ++i) {
    double scale = std::exp((groups[i].largest - all.largest) * per_temperature);
    const auto& part = groups[i].sums;
    all.sums.mass += scale * part.mass;
    all.sums.x += scale * part.x;
    all.sums.y += scale * part.y;
    for (int c = 0; c < 4; ++c) all.sums.jac[c] += scale * part.jac[c];
  }
  return all;
}

// One sum for each plane (B, K).
template <class T>
std::vector<HeatPartial> heat_sums(const HeatMaps<T>& in, int64_t batch) {
  std::vector<HeatPartial> partials(batch * in.anchors * in.groups), planes(batch * in.anchors);
  SoftArgmaxForward<T> p{in, partials.data()};
  int64_t quads = (in.anchors + anchors_per_task - 1) / anchors_per_task;
  int64_t task_elements = anchors_per_task * in.rows_per_group * in.width;
  run(soft_argmax_forward_kernel<T>(), p, batch * in.groups * quads,
      elements_per_thread / (task_elements + 1));
  for (int64_t i = 0; i < int64_t(planes.size()); ++i) {
    planes[i] = combine(&partials[i * in.groups], in.groups, double(in.per_temperature));
  }
  return planes;
}

std::tuple<Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map, double temperature,
                                   bool align_corners) {
  check(logits, jacobian_map);
  int64_t batch = logits.size(0), anchors = logits.size(1);
  Tensor kp = empty<3>({batch, anchors, 2}, motion_type(logits), logits);
  Tensor jac = jacobian_map ? empty<4>({batch, anchors, 2, 2}, motion_type(logits), logits) : nothing(kp);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    auto planes = heat_sums(heat_maps<T>(logits, jacobian_map, temperature, align_corners), batch);
    S* points = static_cast<S*>(kp.data_ptr());
    S* matrices = static_cast<S*>(jac.data_ptr());
    for (const auto& [largest, sums] : planes) {
      *points++ = S(sums.x / sums.mass);
      *points++ = S(sums.y / sums.mass);
      for (int c = 0; jacobian_map && c < 4; ++c) *matrices++ = S(sums.jac[c] / sums.mass);
    }
  });
  return {kp, jac};
}

template <class S>
math::HeatGradient<S> plane_gradient(const HeatPartial& plane, const S* grad_kp, int64_t step,
                                     const std::array<S, 4>& grad_jac) {
  const auto& sums = plane.sums;
  math::HeatGradient<S> g{};
  g.reference = math::heat_reference(S(plane.largest));
  g.per_mass = S(1 / sums.mass);
  g.x = S(sums.x / sums.mass);
  g.y = S(sums.y / sums.mass);
  g.grad_x = grad_kp[0];
  g.grad_y = grad_kp[step];
  for (int c = 0; c < 4; ++c) {
    g.jac[c] = S(sums.jac[c] / sums.mass);
    g.grad_jac[c] = grad_jac[c];
  }
  return g;
}

// Of every plane (B, K).
template <class S>
std::vector<math::HeatGradient<S>> plane_gradients(const std::vector<HeatPartial>& planes, int64_t anchors,
                                                   const Strided<const S, 3>& kp,
                                                   const Strided<const S, 4>& jac) {
  std::vector<math::HeatGradient<S>> gradients;
  gradients.reserve(planes.size());
  for (int64_t i = 0; i < int64_t(planes.size()); ++i) {
    int64_t b = i / anchors, k = i % anchors;
    std::array<S, 4> by_jac{};
    for (int c = 0; jac.data && c < 4; ++c) {
      by_jac[c] =
          jac.data[b * jac.stride[0] + k * jac.stride[1] + c / 2 * jac.stride[2] + c % 2 * jac.stride[3]];
    }
    const S* by_kp = kp.data + b * kp.stride[0] + k * kp.stride[1];
    gradients.push_back(plane_gradient<S>(planes[i], by_kp, kp.stride[2], by_jac));
  }
  return gradients;
}

std::tuple<Tensor, Tensor> backward(Tensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, double temperature, bool align_corners) {
  check(logits, jacobian_map);
  int64_t batch = logits.size(0), anchors = logits.size(1), height = logits.size(2), width = logits.size(3);
  check_motion("grad_kp", grad_kp, logits, {batch, anchors, 2});
  STD_TORCH_CHECK(grad_jac.has_value() == jacobian_map.has_value(), "grad_jac goes with jacobian_map");
  if (grad_jac) check_motion("grad_jac", *grad_jac, logits, {batch, anchors, 2, 2});
  Tensor grad_logits = empty_image_like(logits);
  Tensor grad_map = nothing(logits);
  if (jacobian_map) {
    grad_map = empty<5>({batch, jacobian_map->size(1), 4, height, width}, logits.scalar_type(), logits);
  }
  if (jacobian_map && anchors == 0) {
    torch::stable::zero_(grad_map);
    return {grad_logits, grad_map};
  }
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    auto in = heat_maps<T>(logits, jacobian_map, temperature, align_corners);
    auto gradients = plane_gradients<S>(heat_sums(in, batch), anchors, strided<const S, 3>(grad_kp),
                                        strided<const S, 4>(grad_jac));
    SoftArgmaxBackward<T> p{
        .in = in,
        .gradients = gradients.data(),
        .grad_logits = strided<T, 4>(grad_logits),
        .grad_map = strided<T, 5>(grad_map.dim() == 5 ? OptionalTensor(grad_map) : std::nullopt)};
    int64_t task_elements = 2 * anchors * in.rows_per_group * width;
    run(soft_argmax_backward_kernel<T>(), p, batch * in.groups, elements_per_thread / (task_elements + 1));
  });
  return {grad_logits, grad_map};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
