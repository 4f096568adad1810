#pragma once

#include <array>
#include <vector>

#include "math/anchor_features.h"
#include "math_bindings/numbers.h"

namespace internet::math {

using Conventions = std::array<bool, 2>;  // align_corners, grid_align_corners

// The axes of an image of this size, x first.
inline std::vector<PixelAxis<double>> pixel_axes(const Numbers& size, Conventions c) {
  std::vector<PixelAxis<double>> axes;
  for (double pixels : size) axes.emplace_back(pixels, c[0], c[1]);
  return axes;
}

// The distances of z from a Gaussian's point.
template <int N>
struct Distances {
  double of[N];

  Distances(const Numbers& z, const Gaussian<double, N>& g) {
    for (int i = 0; i < N; ++i) of[i] = z[i] - g.point[i];
  }
};

inline void bind_gaussians(py::module_& m) {
  m.def("gaussian_factor", [](double z, double point, double variance) {
    return gaussian_factor(z, point, 1 / (2 * variance));
  });
  // By the formula for one variance, and by that for any covariance.
  m.def("isotropic_heat", [](const Numbers& z, const Numbers& p, double variance) {
    return with_axes_of(z, [&](auto n) {
      const auto g = isotropic_gaussian<n>(p.data(), variance);
      const Distances<n> d(z, g);
      return Numbers{gaussian_value(isotropic_exponent_at(g, d.of)), gaussian_value(exponent_at(g, d.of))};
    });
  });
  // At z, and by way of the row that z is in.
  m.def("covariance_heat", [](const Numbers& z, const Numbers& p, const Numbers& covariance) {
    return with_axes_of(z, [&](auto n) {
      const auto g = covariance_gaussian(p.data(), matrix_of<n>(covariance).at);
      const Distances<n> d(z, g);
      return Numbers{gaussian_value(exponent_at(g, d.of)),
                     gaussian_value(gaussian_row<double>(g, d.of).exponent_at(z[0]))};
    });
  });
  // From the gradient g with respect to the heat at one z: those of the point and of the covariance.
  m.def("covariance_heat_vjp", [](double g, const Numbers& z, const Numbers& p, const Numbers& covariance) {
    return with_axes_of(z, [&](auto n) {
      const auto gaussian = covariance_gaussian(p.data(), matrix_of<n>(covariance).at);
      const Distances<n> d(z, gaussian);
      const double weight = g * gaussian_slope(exponent_at(gaussian, d.of));
      GaussianMoments<double, n> moments{};
      add_first_moment(moments, weight, d.of);
      add_second_moment(moments, weight, d.of);
      Numbers out(n);
      add_point_gradient(gaussian, moments, out.data());
      const Numbers grad = numbers_of(covariance_gradient(matrix_of<n>(covariance).at, moments));
      out.insert(out.end(), grad.begin(), grad.end());
      return out;
    });
  });
}

inline void bind_pixel_motions(py::module_& m) {
  m.def("pixel_motion", [](const Numbers& motion, const Numbers& size, Conventions c) {
    return with_axes_of(size, [&](auto n) {
      return with_map<n>(motion,
                         [&](auto map) { return numbers_of(pixel_motion(map, pixel_axes(size, c).data())); });
    });
  });
  m.def("pixel_motion_vjp", [](const Numbers& grad, const Numbers& size, Conventions c) {
    return with_axes_of(size, [&](auto n) {
      return with_map<n>(
          grad, [&](auto map) { return numbers_of(pixel_motion_vjp(map, pixel_axes(size, c).data())); });
    });
  });
  m.def("pixel_stillness", [](const Numbers& size, Conventions c) {
    return with_axes_of(size,
                        [&](auto n) { return numbers_of(pixel_stillness<n>(pixel_axes(size, c).data())); });
  });
}

inline void bind_anchor_features(py::module_& m) {
  bind_gaussians(m);
  bind_pixel_motions(m);
  // Of the pixels nw, ne, sw, se around (x, y): the sample and its slopes along x and y.
  m.def("blend", [](const std::array<double, 4>& p, double x, double y, double width, double height) {
    Corners<double> corners{p[0], p[1], p[2], p[3]};
    Axis<double> along = axis(x, width, false), down = axis(y, height, false);
    auto slopes = blend_slopes(corners, along, down);
    return std::array{blend(corners, along, down), slopes.x, slopes.y};
  });
}

}  // namespace internet::math
