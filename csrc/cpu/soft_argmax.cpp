#include "soft_argmax.h"

#include <cmath>

#include "glue.h"

namespace internet::cpu {
namespace {

// A group's logits stay in the first-level cache between two visits.
constexpr int64_t pixels_per_group = 1024;

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
  HeatMaps<T> in{.logits = strided<const T, 4>(logits),
                 .map = strided<const T, 5>(map),
                 .anchors = logits.size(1),
                 .height = height,
                 .width = width,
                 .rows_per_group = std::clamp<int64_t>(pixels_per_group / width, 1, height),
                 .anchors_per_task = 1,
                 .per_temperature = opmath<T>(1 / temperature),
                 .shared_map = map && map->size(1) == 1,
                 .align_corners = align_corners};
  if (in.shared_map) in.map.stride[1] = 0;
  if (in.shared_map || !has_lines(in.logits) || !has_lines(in.map)) in.anchors_per_task = in.anchors;
  return in;
}

template <class P>
void run_tasks(Kernel<P> kernel, const P& p, int64_t batch) {
  int64_t pixels = p.in.anchors_per_task * p.in.rows_per_group * p.in.width;
  run(kernel, p, batch * p.in.parts() * p.in.groups(), elements_per_thread / (2 * pixels + 1));
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
    auto in = heat_maps<T>(logits, jacobian_map, temperature, align_corners);
    std::vector<HeatPartial> partials(batch * anchors * in.groups());
    run_tasks(soft_argmax_forward_kernel<T>(), {in, partials.data()}, batch);
    S* points = static_cast<S*>(kp.data_ptr());
    S* matrices = static_cast<S*>(jac.data_ptr());
    S* kept = static_cast<S*>(statistics.data_ptr());
    for (int64_t plane = 0; plane < batch * anchors; ++plane) {
      const auto [largest, sums] =
          combine(&partials[plane * in.groups()], in.groups(), double(in.per_temperature));
      *points++ = S(sums.x / sums.mass);
      *points++ = S(sums.y / sums.mass);
      for (int c = 0; jacobian_map && c < 4; ++c) *matrices++ = S(sums.jac[c] / sums.mass);
      *kept++ = S(largest);
      *kept++ = S(sums.mass);
    }
  });
  return {kp, jac, statistics};
}

// What the forward pass found and what came for it. What did not come is zero.
struct Results {
  Tensor kp, jac, statistics;
  OptionalTensor grad_kp, grad_jac;

  void check(const Tensor& logits, bool with_map) const {
    int64_t batch = logits.size(0), anchors = logits.size(1);
    check_motion("kp", kp, logits, {batch, anchors, 2});
    check_motion("statistics", statistics, logits, {batch, anchors, 2});
    if (with_map) check_motion("jac", jac, logits, {batch, anchors, 2, 2});
    if (grad_kp) check_motion("grad_kp", *grad_kp, logits, {batch, anchors, 2});
    if (grad_jac) check_motion("grad_jac", *grad_jac, logits, {batch, anchors, 2, 2});
    STD_TORCH_CHECK(with_map || !grad_jac, "grad_jac: goes with jacobian_map");
  }

  // Of every plane (B, K).
  template <class S>
  std::vector<math::HeatGradient<S>> gradients() const {
    const auto point = strided<const S, 3>(kp), kept = strided<const S, 3>(statistics);
    const auto grad_point = strided<const S, 3>(grad_kp);
    const auto matrix = strided<const S, 4>(grad_jac ? OptionalTensor(jac) : std::nullopt);
    const auto grad_matrix = strided<const S, 4>(grad_jac);
    std::vector<math::HeatGradient<S>> found;
    for (int64_t b = 0; b < kp.size(0); ++b) {
      for (int64_t k = 0; k < kp.size(1); ++k) {
        math::HeatGradient<S> g;
        g.reference = math::heat_reference(at(kept, {b, k, 0}));
        g.per_mass = 1 / at(kept, {b, k, 1});
        g.x = at(point, {b, k, 0});
        g.y = at(point, {b, k, 1});
        g.grad_x = at(grad_point, {b, k, 0});
        g.grad_y = at(grad_point, {b, k, 1});
        for (int c = 0; c < 4; ++c) {
          g.jac[c] = at(matrix, {b, k, c / 2, c % 2});
          g.grad_jac[c] = at(grad_matrix, {b, k, c / 2, c % 2});
        }
        found.push_back(g);
      }
    }
    return found;
  }

 private:
  template <class S, int N>
  static S at(const Strided<const S, N>& t, const int64_t (&index)[N]) {
    if (t.data == nullptr) return 0;
    int64_t offset = 0;
    for (int axis = 0; axis < N; ++axis) offset += index[axis] * t.stride[axis];
    return t.data[offset];
  }
};

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor statistics,
                                    double temperature, bool align_corners, bool need_logits, bool need_map) {
  check(logits, jacobian_map);
  const Results results{kp, jac, statistics, grad_kp, grad_jac};
  results.check(logits, jacobian_map.has_value());
  const int64_t batch = logits.size(0);
  OptionalTensor grad_logits, grad_map;
  if (need_logits) grad_logits = empty_image_like(logits);
  if (need_map && jacobian_map) grad_map = empty_maps_like(*jacobian_map);
  const bool to_map = grad_map && grad_jac && logits.size(1) > 0;
  if (grad_map && !to_map) torch::stable::zero_(*grad_map);
  if (grad_logits || to_map) {
    with_storage_type(logits.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      const auto gradients = results.gradients<opmath<T>>();
      SoftArgmaxBackward<T> p{
          .in = heat_maps<T>(logits, grad_jac ? jacobian_map : std::nullopt, temperature, align_corners),
          .gradients = gradients.data(),
          .grad_logits = strided<T, 4>(grad_logits),
          .grad_map = strided<T, 5>(to_map ? grad_map : std::nullopt)};
      if (p.in.shared_map) p.grad_map.stride[1] = 0;
      run_tasks(soft_argmax_backward_kernel<T>(), p, batch);
    });
  }
  return {grad_logits.value_or(nothing(logits)), grad_map.value_or(nothing(logits))};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
