#pragma once

#include <array>
#include <string>
#include <vector>

#include "math/soft_argmax.h"
#include "math_bindings/numbers.h"

namespace internet::math {

// Results, and their gradients, in one row: the position, the matrix, the covariance.
template <int N>
inline void bind_heat(py::module_& m, const std::string& axes) {
  using Row = std::array<double, N + 2 * N * N>;
  m.def(("heat_logit_gradient" + axes).c_str(),
        [](const Row& results, const Row& grads, double heat, const std::array<double, N>& z,
           const std::array<double, N * N>& map, double per_temperature) {
          HeatGradient<double, N> g{};
          for (int i = 0; i < N; ++i) g.position[i] = results[i], g.grad_position[i] = grads[i];
          for (int c = 0; c < N * N; ++c) g.jac[c] = results[N + c], g.grad_jac[c] = grads[N + c];
          set_covariance(g, results.data() + N + N * N, grads.data() + N + N * N);
          return heat_logit_gradient<true>(g, heat_row(g, z.data() + 1), heat, z[0], map.data(),
                                           per_temperature);
        });
  m.def(("heat_moments" + axes).c_str(),
        [](double mass, double first, double second, const std::array<double, N - 1>& offset) {
          HeatMoments<double, N> sums{};
          add_row(sums, mass, first, second, offset.data());
          add_row(sums, mass, first, second, offset.data());
          return std::vector<double>(sums.entry, sums.entry + triangle<N>);
        });
}

inline void bind_soft_argmax(py::module_& m) {
  m.def("heat_reference", [](double largest) { return heat_reference(largest); });
  m.def("heat_weight", [](double logit, double reference, double per_temperature) {
    return heat_weight(logit, reference, per_temperature);
  });
  bind_heat<2>(m, "_2d");
  bind_heat<3>(m, "_3d");
}

}  // namespace internet::math
