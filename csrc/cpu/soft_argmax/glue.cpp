#include <cmath>

#include "arguments/soft_argmax.h"
#include "cpu/runtime/launch.h"
#include "cpu/soft_argmax/kernels.h"

namespace internet::cpu {
namespace {

// A group's logits stay in the first-level cache between two visits.
constexpr int64_t pixels_per_group = 1024;

// `with_map`: whether the Jacobian maps are read.
template <class T>
HeatMaps<T> heat_maps(const SoftArgmaxArguments& a, bool with_map) {
  HeatMaps<T> in{.logits = strided<const T, 4>(a.logits),
                 .map = strided<const T, 5>(with_map ? a.jacobian_map : std::nullopt),
                 .anchors = a.anchors(),
                 .height = a.height(),
                 .width = a.width(),
                 .rows_per_group = std::clamp<int64_t>(pixels_per_group / a.width(), 1, a.height()),
                 .anchors_per_task = 1,
                 .per_temperature = opmath<T>(1 / a.temperature),
                 .shared_map = with_map && a.shared_map(),
                 .align_corners = a.align_corners};
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
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const auto results = SoftArgmaxResults::empty_for(a);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const auto in = heat_maps<T>(a, jacobian_map.has_value());
    const int64_t planes = a.batch() * a.anchors();
    std::vector<HeatPartial> partials(planes * in.groups());
    run_tasks(soft_argmax_forward_kernel<T>(), {in, partials.data()}, a.batch());
    S* points = static_cast<S*>(results.kp.data_ptr());
    S* matrices = static_cast<S*>(results.jac.data_ptr());
    S* kept = static_cast<S*>(results.statistics.data_ptr());
    for (int64_t plane = 0; plane < planes; ++plane) {
      const auto [largest, sums] =
          combine(&partials[plane * in.groups()], in.groups(), double(in.per_temperature));
      *points++ = S(sums.x / sums.mass);
      *points++ = S(sums.y / sums.mass);
      for (int c = 0; jacobian_map && c < 4; ++c) *matrices++ = S(sums.jac[c] / sums.mass);
      *kept++ = S(largest);
      *kept++ = S(sums.mass);
    }
  });
  return results.result();
}

template <class S, int N>
S value_or_zero(const Strided<const S, N>& t, const int64_t (&index)[N]) {
  if (t.data == nullptr) return 0;
  int64_t offset = 0;
  for (int axis = 0; axis < N; ++axis) offset += index[axis] * t.stride[axis];
  return t.data[offset];
}

// Of every plane (B, K).
template <class S>
std::vector<math::HeatGradient<S>> heat_gradients(const SoftArgmaxGradients& given) {
  const Tensor& kp = given.results.kp;
  const auto point = strided<const S, 3>(kp), kept = strided<const S, 3>(given.results.statistics);
  const auto grad_point = strided<const S, 3>(given.grad_kp);
  const auto grad_matrix = strided<const S, 4>(given.grad_jac);
  const auto matrix = given.grad_jac ? strided<const S, 4>(given.results.jac) : Strided<const S, 4>{};
  std::vector<math::HeatGradient<S>> found;
  for (int64_t b = 0; b < kp.size(0); ++b) {
    for (int64_t k = 0; k < kp.size(1); ++k) {
      math::HeatGradient<S> g;
      g.reference = math::heat_reference(value_or_zero(kept, {b, k, 0}));
      g.per_mass = 1 / value_or_zero(kept, {b, k, 1});
      g.x = value_or_zero(point, {b, k, 0});
      g.y = value_or_zero(point, {b, k, 1});
      g.grad_x = value_or_zero(grad_point, {b, k, 0});
      g.grad_y = value_or_zero(grad_point, {b, k, 1});
      for (int c = 0; c < 4; ++c) {
        g.jac[c] = value_or_zero(matrix, {b, k, c / 2, c % 2});
        g.grad_jac[c] = value_or_zero(grad_matrix, {b, k, c / 2, c % 2});
      }
      found.push_back(g);
    }
  }
  return found;
}

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor statistics,
                                    double temperature, bool align_corners, bool need_logits, bool need_map) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const SoftArgmaxGradients given{{kp, jac, statistics}, grad_kp, grad_jac};
  given.check(a);
  const SoftArgmaxInputGradients wanted(a, given, need_logits, need_map);
  if (!wanted.anything_to_write()) return wanted.result(logits);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    const auto gradients = heat_gradients<opmath<T>>(given);
    SoftArgmaxBackward<T> p{.in = heat_maps<T>(a, grad_jac.has_value()),
                            .gradients = gradients.data(),
                            .grad_logits = strided<T, 4>(wanted.logits),
                            .grad_map = strided<T, 5>(wanted.map_to_write())};
    if (p.in.shared_map) p.grad_map.stride[1] = 0;
    run_tasks(soft_argmax_backward_kernel<T>(), p, a.batch());
  });
  return wanted.result(logits);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
