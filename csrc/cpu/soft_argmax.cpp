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

std::tuple<Tensor, Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map, double temperature,
                                           bool align_corners) {
  check(logits, jacobian_map);
  int64_t batch = logits.size(0), anchors = logits.size(1);
  Tensor kp = empty<3>({batch, anchors, 2}, motion_type(logits), logits);
  Tensor jac = jacobian_map ? empty<4>({batch, anchors, 2, 2}, motion_type(logits), logits) : nothing(kp);
  Tensor statistics = empty<3>({batch, anchors, 2}, motion_type(logits), logits);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    auto planes = heat_sums(heat_maps<T>(logits, jacobian_map, temperature, align_corners), batch);
    S* points = static_cast<S*>(kp.data_ptr());
    S* matrices = static_cast<S*>(jac.data_ptr());
    S* kept = static_cast<S*>(statistics.data_ptr());
    for (const auto& [largest, sums] : planes) {
      *points++ = S(sums.x / sums.mass);
      *points++ = S(sums.y / sums.mass);
      for (int c = 0; jacobian_map && c < 4; ++c) *matrices++ = S(sums.jac[c] / sums.mass);
      *kept++ = S(largest);
      *kept++ = S(sums.mass);
    }
  });
  return {kp, jac, statistics};
}

// The results of every plane, and what came for them. What is null is zero.
template <class S>
struct Results {
  const S *kp, *jac, *statistics;
  Strided<const S, 3> grad_kp;
  Strided<const S, 4> grad_jac;

  math::HeatGradient<S> at(int64_t image, int64_t anchor, int64_t anchors) const {
    const int64_t plane = image * anchors + anchor;
    math::HeatGradient<S> g{};
    g.reference = math::heat_reference(statistics[2 * plane]);
    g.per_mass = 1 / statistics[2 * plane + 1];
    g.x = kp[2 * plane];
    g.y = kp[2 * plane + 1];
    if (grad_kp.data != nullptr) {
      const auto& s = grad_kp.stride;
      const S* grad = grad_kp.data + image * s[0] + anchor * s[1];
      g.grad_x = grad[0];
      g.grad_y = grad[s[2]];
    }
    for (int c = 0; jac != nullptr && c < 4; ++c) {
      const auto& s = grad_jac.stride;
      g.jac[c] = jac[4 * plane + c];
      if (grad_jac.data == nullptr) continue;
      g.grad_jac[c] = grad_jac.data[image * s[0] + anchor * s[1] + c / 2 * s[2] + c % 2 * s[3]];
    }
    return g;
  }
};

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor statistics,
                                    double temperature, bool align_corners, bool need_logits, bool need_map) {
  check(logits, jacobian_map);
  int64_t batch = logits.size(0), anchors = logits.size(1), height = logits.size(2), width = logits.size(3);
  if (grad_kp) check_motion("grad_kp", *grad_kp, logits, {batch, anchors, 2});
  if (grad_jac && jacobian_map) check_motion("grad_jac", *grad_jac, logits, {batch, anchors, 2, 2});
  check_motion("kp", kp, logits, {batch, anchors, 2});
  if (jacobian_map) check_motion("jac", jac, logits, {batch, anchors, 2, 2});
  check_motion("statistics", statistics, logits, {batch, anchors, 2});
  STD_TORCH_CHECK(kp.is_contiguous() && jac.is_contiguous() && statistics.is_contiguous(),
                  "kp, jac, statistics: expected to be contiguous");
  Tensor grad_logits = empty_image_like(logits);
  Tensor grad_map = nothing(logits);
  if (jacobian_map) {
    grad_map = empty<5>({batch, jacobian_map->size(1), 4, height, width}, logits.scalar_type(), logits);
  }
  if (jacobian_map && anchors == 0) {
    torch::stable::zero_(grad_map);
  } else {
    with_storage_type(logits.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      using S = opmath<T>;
      auto in = heat_maps<T>(logits, jacobian_map, temperature, align_corners);
      Results<S> results{.kp = static_cast<const S*>(kp.data_ptr()),
                         .jac = jacobian_map ? static_cast<const S*>(jac.data_ptr()) : nullptr,
                         .statistics = static_cast<const S*>(statistics.data_ptr()),
                         .grad_kp = strided<const S, 3>(grad_kp),
                         .grad_jac = strided<const S, 4>(jacobian_map ? grad_jac : std::nullopt)};
      std::vector<math::HeatGradient<S>> gradients;
      for (int64_t i = 0; i < batch * anchors; ++i) {
        gradients.push_back(results.at(i / anchors, i % anchors, anchors));
      }
      SoftArgmaxBackward<T> p{
          .in = in,
          .gradients = gradients.data(),
          .grad_logits = strided<T, 4>(grad_logits),
          .grad_map = strided<T, 5>(grad_map.dim() == 5 ? OptionalTensor(grad_map) : std::nullopt)};
      int64_t task_elements = 2 * anchors * in.rows_per_group * width;
      run(soft_argmax_backward_kernel<T>(), p, batch * in.groups, elements_per_thread / (task_elements + 1));
    });
  }
  return {need_logits ? grad_logits : nothing(logits), need_map ? grad_map : nothing(logits)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
