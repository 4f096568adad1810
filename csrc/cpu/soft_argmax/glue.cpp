#include <cmath>

#include "arguments/soft_argmax.h"
#include "cpu/runtime/launch.h"
#include "cpu/soft_argmax/kernels.h"

namespace internet::cpu {
namespace {

// Small enough that a group's logits stay in the first-level cache between two visits.
constexpr int64_t pixels_per_group = 1024;

// `with_map`: whether the Jacobian maps are read.
template <class T, int N>
HeatMaps<T, N> heat_maps(const SoftArgmaxArguments& a, bool with_map) {
  HeatMaps<T, N> in{.logits = over_slices<const T, 2>(a.logits),
                    .map = over_slices<const T, 3>(with_map ? a.jacobian_map : std::nullopt),
                    .anchors = a.anchors(),
                    .depth = a.depth(),
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

// Nanoseconds per logit.
constexpr double logit_time = 0.5;

template <class P>
void run_tasks(Kernel<P> kernel, const P& p, int64_t batch) {
  const int64_t logits = p.in.anchors_per_task * p.in.rows_per_group * p.in.width;
  run(kernel, p, batch * p.in.parts() * p.in.groups(), tasks_per_thread(logit_time * logits));
}

// Combines the groups of one heat map, relative to the largest logit of all.
template <int N>
HeatPartial<N> combine(const HeatPartial<N>* groups, int64_t count, double per_temperature) {
  HeatPartial<N> all{groups[0].largest, {}};
  for (int64_t i = 1; i < count; ++i) all.largest = std::max(all.largest, groups[i].largest);
  for (int64_t i = 0; i < count; ++i) {
    double scale = std::exp((groups[i].largest - all.largest) * per_temperature);
    const auto& part = groups[i].sums;
    all.sums.mass += scale * part.mass;
    for (int j = 0; j < N; ++j) all.sums.position[j] += scale * part.position[j];
    for (int c = 0; c < N * N; ++c) all.sums.jac[c] += scale * part.jac[c];
  }
  return all;
}

// Writes (B, K, N, N), from the largest logit, the sum of weights and the position of each heat map.
template <class T, int N, class S = opmath<T>>
void covariances(const SoftArgmaxArguments& a, const SoftArgmaxResults& results) {
  const auto in = heat_maps<T, N>(a, false);
  const int64_t planes = a.batch() * a.anchors(), groups = in.groups();
  const S* position = static_cast<const S*>(results.kp.data_ptr());
  const S* statistics = static_cast<const S*>(results.statistics.data_ptr());
  std::vector<math::HeatGradient<S, N>> points(planes);
  for (int64_t plane = 0; plane < planes; ++plane) {
    points[plane].reference = math::heat_reference(statistics[2 * plane]);
    for (int i = 0; i < N; ++i) points[plane].position[i] = position[N * plane + i];
  }
  std::vector<math::HeatMoments<double, N>> partials(planes * groups);
  run_tasks(soft_argmax_covariance_kernel<T, N>(), {in, points.data(), partials.data()}, a.batch());
  S* matrix = static_cast<S*>(results.covariance.data_ptr());
  for (int64_t plane = 0; plane < planes; ++plane, matrix += N * N) {
    math::HeatMoments<double, N> sum{};
    for (int64_t i = 0; i < groups; ++i) {
      for (int e = 0; e < math::triangle<N>; ++e) sum.entry[e] += partials[plane * groups + i].entry[e];
    }
    const double* entry = sum.entry;
    for (int i = 0; i < N; ++i) {
      for (int j = i; j < N; ++j) {
        matrix[N * i + j] = matrix[N * j + i] = S(*entry++ / double(statistics[2 * plane + 1]));
      }
    }
  }
}

template <class T, int N, class S = opmath<T>>
void expectations(const SoftArgmaxArguments& a, const SoftArgmaxResults& results) {
  const auto in = heat_maps<T, N>(a, a.jacobian_map.has_value());
  const int64_t planes = a.batch() * a.anchors();
  std::vector<HeatPartial<N>> partials(planes * in.groups());
  run_tasks(soft_argmax_forward_kernel<T, N>(), {in, partials.data()}, a.batch());
  S* points = static_cast<S*>(results.kp.data_ptr());
  S* matrices = static_cast<S*>(results.jac.data_ptr());
  S* kept = static_cast<S*>(results.statistics.data_ptr());
  for (int64_t plane = 0; plane < planes; ++plane) {
    const auto [largest, sums] =
        combine(&partials[plane * in.groups()], in.groups(), double(in.per_temperature));
    for (int i = 0; i < N; ++i) *points++ = S(sums.position[i] / sums.mass);
    for (int c = 0; a.jacobian_map && c < N * N; ++c) *matrices++ = S(sums.jac[c] / sums.mass);
    *kept++ = S(largest);
    *kept++ = S(sums.mass);
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(Tensor logits, OptionalTensor jacobian_map,
                                                   double temperature, bool covariance, bool align_corners) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const auto results = SoftArgmaxResults::empty_for(a, covariance);
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    expectations<T, axes()>(a, results);
    if (covariance) covariances<T, axes()>(a, results);
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

// For every heat map (B, K).
template <class S, int N>
std::vector<math::HeatGradient<S, N>> heat_gradients(const SoftArgmaxGradients& given) {
  const Tensor& kp = given.results.kp;
  const auto point = strided<const S, 3>(kp), kept = strided<const S, 3>(given.results.statistics);
  const auto grad_point = strided<const S, 3>(given.grad_kp);
  const auto grad_matrix = strided<const S, 4>(given.grad_jac);
  const auto grad_covariance = strided<const S, 4>(given.grad_covariance);
  // If a Jacobian has no gradient, its value does not matter.
  const auto matrix = given.grad_jac ? strided<const S, 4>(given.results.jac) : Strided<const S, 4>{};
  const auto covariance =
      given.grad_covariance ? strided<const S, 4>(given.results.covariance) : Strided<const S, 4>{};
  std::vector<math::HeatGradient<S, N>> found;
  for (int64_t b = 0; b < kp.size(0); ++b) {
    for (int64_t k = 0; k < kp.size(1); ++k) {
      math::HeatGradient<S, N> g;
      g.reference = math::heat_reference(value_or_zero(kept, {b, k, 0}));
      g.per_mass = 1 / value_or_zero(kept, {b, k, 1});
      for (int i = 0; i < N; ++i) {
        g.position[i] = value_or_zero(point, {b, k, i});
        g.grad_position[i] = value_or_zero(grad_point, {b, k, i});
      }
      S cov[N * N], grad_cov[N * N];
      for (int c = 0; c < N * N; ++c) {
        g.jac[c] = value_or_zero(matrix, {b, k, c / N, c % N});
        g.grad_jac[c] = value_or_zero(grad_matrix, {b, k, c / N, c % N});
        cov[c] = value_or_zero(covariance, {b, k, c / N, c % N});
        grad_cov[c] = value_or_zero(grad_covariance, {b, k, c / N, c % N});
      }
      math::set_covariance(g, cov, grad_cov);
      found.push_back(g);
    }
  }
  return found;
}

std::tuple<Tensor, Tensor> backward(OptionalTensor grad_kp, OptionalTensor grad_jac,
                                    OptionalTensor grad_covariance, Tensor logits,
                                    OptionalTensor jacobian_map, Tensor kp, Tensor jac, Tensor covariance,
                                    Tensor statistics, double temperature, bool align_corners,
                                    bool need_logits, bool need_map) {
  const SoftArgmaxArguments a(logits, jacobian_map, temperature, align_corners);
  const SoftArgmaxGradients given{{kp, jac, covariance, statistics}, grad_kp, grad_jac, grad_covariance};
  given.check(a);
  const SoftArgmaxInputGradients wanted(a, given, need_logits, need_map);
  if (!wanted.anything_to_write()) return wanted.result(logits);
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    constexpr int N = axes();
    const auto gradients = heat_gradients<opmath<T>, N>(given);
    SoftArgmaxBackward<T, N> p{.in = heat_maps<T, N>(a, grad_jac.has_value()),
                               .gradients = gradients.data(),
                               .grad_logits = over_slices<T, 2>(wanted.logits),
                               .grad_map = over_slices<T, 3>(wanted.map_to_write())};
    if (p.in.shared_map) p.grad_map.stride[1] = 0;
    run_tasks(soft_argmax_backward_kernel<T, N>(), p, a.batch());
  });
  return wanted.result(logits);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("soft_argmax", TORCH_BOX(&forward));
  m.impl("soft_argmax_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
