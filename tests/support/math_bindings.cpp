// The scalar arithmetic of csrc/math for Python, in double: scalar_math.py compiles this, and the tests
// compare values with the equations and vector-Jacobian products with finite differences.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

#include "math/affine_mixture.h"
#include "math/anchor_affine.h"
#include "math/anchor_features.h"
#include "math/bilinear.h"
#include "math/confidence_warp.h"
#include "math/flow_confidence.h"
#include "math/interpolate.h"
#include "math/masked_backwarp_loss.h"
#include "math/soft_argmax.h"
#include "math/upsample_motion.h"
#include "math/value.h"

namespace py = pybind11;
using namespace internet::math;

namespace {

using Vector = VectorOf<float, 8>::type;

// The same eight numbers through the SIMD form of a function.
template <class Function>
auto on_eight(Function function) {
  return [function](std::array<float, 8> numbers) {
    Vector v;
    for (int i = 0; i < 8; ++i) v[i] = numbers[i];
    v = function(v);
    for (int i = 0; i < 8; ++i) numbers[i] = v[i];
    return numbers;
  };
}

void bind_value(py::module_& m) {
  m.def("exp_below_88", py::vectorize([](double x) { return exp_below_88(x); }));
  m.def("exp_below_88_float", py::vectorize([](float x) { return exp_below_88(x); }));
  m.def("exp_below_88_eight", on_eight([](Vector x) { return exp_below_88(x); }));
  m.def("floor_eight", on_eight([](Vector x) { return floor_of(x); }));
  m.def("square_root_eight", on_eight([](Vector x) { return square_root(x); }));
  m.def("absolute_eight", on_eight([](Vector x) { return absolute(x); }));
  m.def("at_least", [](double x, double bound) { return at_least(x, bound); });
  m.def("at_most", [](double x, double bound) { return at_most(x, bound); });
  m.def("all_of_eight", [](std::array<int32_t, 8> mask) {
    return all(__builtin_bit_cast(typename Value<Vector>::Integer, mask));
  });
  m.def("larger", [](double a, double b) { return larger(a, b); });
}

void bind_bilinear(py::module_& m) {
  m.def("unnormalize",
        [](double z, double size, bool align_corners) { return unnormalize(z, size, align_corners); });
  m.def("pixels_per_unit",
        [](double size, bool align_corners) { return pixels_per_unit(size, align_corners); });
  m.def("normalized_start",
        [](double size, bool align_corners) { return normalized_start(size, align_corners); });
  m.def("normalized_step",
        [](double size, bool align_corners) { return normalized_step(size, align_corners); });
  py::class_<Axis<double>>(m, "Axis")
      .def_readonly("low", &Axis<double>::low)
      .def_readonly("high", &Axis<double>::high)
      .def_readonly("low_weight", &Axis<double>::low_weight)
      .def_readonly("high_weight", &Axis<double>::high_weight)
      .def_readonly("low_slope", &Axis<double>::low_slope)
      .def_readonly("high_slope", &Axis<double>::high_slope);
  m.def("axis", [](double t, double size, bool border) { return axis(t, size, border); });
}

// Of `size` pixels to `fine_size`.
template <class Index>
Interpolation<Index> interpolation(int64_t size, int64_t fine_size, bool align_corners) {
  return {Index(size), Index(fine_size), align_corners};
}

void bind_interpolate(py::module_& m) {
  m.def("interpolation_taps", [](int64_t size, int64_t fine_size, bool align_corners, int64_t fine) {
    const auto taps = interpolation<int64_t>(size, fine_size, align_corners).taps<double>(fine);
    return std::tuple{taps.low, taps.high, taps.fraction};
  });
  m.def(
      "interpolation_taps_in_32_bits", [](int64_t size, int64_t fine_size, bool align_corners, int64_t fine) {
        const auto taps = interpolation<int32_t>(size, fine_size, align_corners).taps<double>(int32_t(fine));
        return std::tuple{taps.low, taps.high, taps.fraction};
      });
  m.def("interpolation_readers", [](int64_t size, int64_t fine_size, bool align_corners, int64_t p) {
    const auto axis = interpolation<int64_t>(size, fine_size, align_corners);
    return std::pair{axis.first_reader(p), axis.first_beyond(p)};
  });
  m.def("interpolation_weight",
        [](int64_t size, int64_t fine_size, bool align_corners, int64_t p, int64_t fine) {
          return interpolation<int64_t>(size, fine_size, align_corners).weight<double>(p, fine);
        });
  m.def("interpolate",
        [](double low, double high, double fraction) { return interpolate(low, high, fraction); });
}

void bind_upsample_motion(py::module_& m) {
  m.def("upsample_taps", [](int64_t ratio, int64_t phase) {
    UpsampleTaps<double> taps = upsample_taps<double>(ratio, phase);
    return std::array{taps.before, taps.here, taps.after};
  });
  m.def("upsample", [](int64_t ratio, int64_t phase, double before, double here, double after) {
    return upsample(upsample_taps<double>(ratio, phase), before, here, after);
  });
  m.def("upsample_weight", &upsample_weight<double>);
  m.def("fold_taps", [](int64_t ratio, int64_t phase, int64_t p, int64_t size) {
    UpsampleTaps<double> taps = fold_taps(upsample_taps<double>(ratio, phase), p, size);
    return std::array{taps.before, taps.here, taps.after};
  });
}

using Numbers = std::vector<double>;

// f(std::integral_constant<int, N>{}), N the one of 2 and 3 for which a row has `size(N)` numbers.
template <class Size, class F>
Numbers with_axes(const Numbers& row, Size size, F f) {
  return row.size() == size_t(size(2)) ? f(std::integral_constant<int, 2>{})
                                       : f(std::integral_constant<int, 3>{});
}
constexpr int anchor_size(int n) { return 2 * n + 2 * n * n; }
constexpr int affine_size(int n) { return n * n + n; }

// An anchor in one row: both key points, then both Jacobians, source first.
template <int N>
Anchor<double, N> anchor_of(const Numbers& row) {
  static_assert(sizeof(Anchor<double, N>) == anchor_size(N) * sizeof(double));
  Anchor<double, N> a;
  std::memcpy(&a, row.data(), sizeof(a));
  return a;
}
// A map: the matrix, then the offset.
template <int N, int M = N>
Affine<double, N, M> affine_of(const Numbers& row) {
  Affine<double, N, M> t;
  std::memcpy(&t, row.data(), sizeof(t));
  return t;
}
template <class Struct>
Numbers numbers_of(const Struct& t) {
  Numbers row(sizeof(t) / sizeof(double));
  std::memcpy(row.data(), &t, sizeof(t));
  return row;
}
template <int N>
Point<double, N> point_of(const Numbers& z) {
  Point<double, N> point;
  std::copy_n(z.data(), N, point.axis);
  return point;
}

void bind_anchor_affine(py::module_& m) {
  m.def("kept_determinant", [](double det) { return kept_determinant(det); });
  m.def("anchor_affine", [](const Numbers& row) {
    return with_axes(row, anchor_size, [&](auto n) { return numbers_of(anchor_affine(anchor_of<n>(row))); });
  });
  m.def("anchor_affine_vjp", [](const Numbers& row, const Numbers& grad) {
    return with_axes(row, anchor_size, [&](auto n) {
      return numbers_of(anchor_affine_vjp(anchor_of<n>(row), affine_of<n>(grad)));
    });
  });
  // At z, by way of the map along the row that z is in.
  m.def("moved", [](const Numbers& affine, const Numbers& z) {
    return with_axes(affine, affine_size,
                     [&](auto n) { return numbers_of(affine_of<n>(affine).row(point_of<n>(z)).at(z[0])); });
  });
  m.def("affine_pull", [](const Numbers& grad, const Numbers& z) {
    return with_axes(
        z, [](int n) { return n; },
        [&](auto n) {
          Affine<double, n> sum{};
          sum.add_pull(point_of<n>(grad), point_of<n>(z));
          return numbers_of(sum);
        });
  });
  // The background, its map row by row as `affine_of` has it.
  m.def("projected", [](const Numbers& projective, const Numbers& z) {
    return with_axes(
        z, [](int n) { return n; },
        [&](auto n) {
          const auto row = affine_of<n, n + 1>(projective).row(point_of<n>(z));
          return numbers_of(from_homogeneous(row.at(z[0])));
        });
  });
  m.def("projected_vjp", [](const Numbers& projective, const Numbers& z, const Numbers& grad) {
    return with_axes(
        z, [](int n) { return n; },
        [&](auto n) {
          const auto row = affine_of<n, n + 1>(projective).row(point_of<n>(z));
          Projective<double, n> sum{};
          sum.add_pull(from_homogeneous_vjp(row.at(z[0]), point_of<n>(grad)), point_of<n>(z));
          return numbers_of(sum);
        });
  });
}

// Maps along a row, each with the slopes and then the offsets, and the background's point.
using Motions = std::vector<Numbers>;

template <int N>
auto motion_of(const Motions& motions) {
  return [&motions](int k) {
    RowMotion<double, N> motion;
    std::memcpy(&motion, motions[k - 1].data(), sizeof(motion));
    return motion;
  };
}

auto exponential_of(const Numbers& logits) {
  double largest = logits[0];
  for (double logit : logits) largest = larger(largest, logit);
  return [&logits, largest](int k) { return exp_below_88(logits[k] - largest); };
}

template <bool thresholded>
Numbers compose_field(const Numbers& logits, const Motions& motions, const Numbers& still, double x,
                      double threshold) {
  return with_axes(
      still, [](int n) { return n; },
      [&](auto n) {
        auto f = compose<thresholded>(int(motions.size()), exponential_of(logits), motion_of<n>(motions),
                                      point_of<n>(still), x, threshold);
        return numbers_of(f.field);
      });
}

template <bool thresholded>
auto compose_gradients(const Numbers& logits, const Motions& motions, const Numbers& still, double x,
                       double threshold, const Numbers& grad) {
  Numbers grad_logit(logits.size());
  Numbers by_motion = with_axes(
      still, [](int n) { return n; },
      [&](auto n) {
        Numbers weights(logits.size());
        compose_vjp<thresholded>(int(motions.size()), exponential_of(logits), motion_of<n>(motions),
                                 point_of<n>(still), x, threshold, point_of<n>(grad),
                                 [&](int k, double logit, double weight) {
                                   grad_logit[k] = logit;
                                   weights[k] = weight;
                                 });
        return weights;
      });
  return std::make_pair(grad_logit, by_motion);
}

// Two neighbouring pixels, each with logits and a background of its own.
auto compose_two(const std::array<Numbers, 2>& logits, const Motions& motions,
                 const std::array<Numbers, 2>& still, double x, double x_step) {
  std::array<Numbers, 2> kept{Numbers(logits[0].size()), Numbers(logits[1].size())};
  Numbers fields = with_axes(
      still[0], [](int n) { return n; },
      [&](auto n) {
        auto step = [&](int k) { return stepped(motion_of<n>(motions)(k), x_step); };
        const Point<double, n> stills[2] = {point_of<n>(still[0]), point_of<n>(still[1])};
        Composition<double, n> f[2];
        compose_logits<false>(
            int(motions.size()), [&](int k, int i) { return logits[i][k]; }, step, stills, x,
            [&](int k, int i, double e) { kept[i][k] = e; }, f);
        Numbers both = numbers_of(f[0].field), second = numbers_of(f[1].field);
        both.insert(both.end(), second.begin(), second.end());
        return both;
      });
  return std::make_pair(fields, kept);
}

void bind_affine_mixture(py::module_& m) {
  m.def("compose_two", &compose_two);
  m.def("compose", &compose_field<false>);
  m.def("compose_thresholded", &compose_field<true>);
  m.def("compose_vjp", &compose_gradients<false>);
  m.def("compose_vjp_thresholded", &compose_gradients<true>);
}

void bind_confidence_warp(py::module_& m) {
  m.def("corner_weights", [](const Axis<double>& x, const Axis<double>& y) {
    Corners<double> w = corner_weights(x, y);
    return std::array{w.nw, w.ne, w.sw, w.se};
  });
  m.def("reads_image", [](const Axis<double>& x, const Axis<double>& y) { return bool(reads_image(x, y)); });
  m.def("motion_gradient", [](const Axis<double>& x, const Axis<double>& y, double confidence,
                              const std::array<double, 4>& dots, double x_scale, double y_scale) {
    Corners<double> corners{dots[0], dots[1], dots[2], dots[3]};
    MotionGradient<double> g = motion_gradient(x, y, confidence, corners, x_scale, y_scale);
    return std::array{g.x, g.y, g.confidence};
  });
}

// The eight pixels around a sample in a volume: the last axis changes slowest.
using Axes = std::array<Axis<double>, 3>;
using Eight = std::array<double, 8>;

Corners<double, 3> corners_of(const Eight& v) { return {{v[0], v[1], v[2], v[3]}, {v[4], v[5], v[6], v[7]}}; }

void bind_volume_warp(py::module_& m) {
  m.def("corner_weights_3d", [](const Axes& axes) {
    const Corners<double, 3> w = corner_weights<3>(axes.data());
    return Eight{w.low.nw, w.low.ne, w.low.sw, w.low.se, w.high.nw, w.high.ne, w.high.sw, w.high.se};
  });
  m.def("weighted_sum_3d", [](const Eight& weights, const Eight& values) {
    Corners<double, 3> sums{};
    add_scaled(sums, 0.5, corners_of(values));
    add_scaled(sums, 0.5, corners_of(values));
    return weighted_sum(corners_of(weights), sums);
  });
  m.def("blend_3d",
        [](const Axes& axes, const Eight& values) { return blend(corners_of(values), axes.data()); });
  m.def("reads_image_3d", [](const Axes& axes) { return bool(reads_image<3>(axes.data())); });
  m.def("motion_gradient_3d",
        [](const Axes& axes, double confidence, const Eight& dots, const std::array<double, 3>& scales) {
          std::array<double, 4> g;
          g[3] = motion_gradient(axes.data(), confidence, corners_of(dots), scales.data(), g.data());
          return g;
        });
}

template <Penalty P>
void bind_penalty(py::module_& m, const std::string& name) {
  m.def(("penalty_" + name).c_str(), [](double r) { return penalty<P>(r); });
  m.def(("penalty_slope_" + name).c_str(), [](double r) { return penalty_slope<P>(r); });
  m.def(("residual_gradient_" + name).c_str(), [](double difference, double mask, double grad) {
    ResidualGradient<double> g = residual_gradient<P>(difference, mask, grad);
    return std::array{g.sample, g.mask};
  });
}

void bind_masked_backwarp_loss(py::module_& m) {
  bind_penalty<Penalty::l1>(m, "l1");
  bind_penalty<Penalty::l2>(m, "l2");
  bind_penalty<Penalty::charbonnier>(m, "charbonnier");
  m.def("position", [](double t, double size, bool border) {
    Position<double> p = position(t, size, border);
    return std::array{p.base, p.fraction};
  });
  m.def("moves_within", [](double t, double size) { return bool(moves_within(t, size)); });
  m.def("inside_frame", [](double t, double size, bool valid) { return bool(inside_frame(t, size, valid)); });
  m.def("share", [](double gradient, double fraction) {
    Shares<double> s = share(gradient, fraction);
    return std::array{s.low, s.high};
  });
  // pixels: top left, top right, bottom left, bottom right
  m.def("interpolate", [](const std::array<double, 4>& pixels, double fraction_x, double fraction_y) {
    Column<double> left = interpolate_down(pixels[0], pixels[2], fraction_y);
    Column<double> right = interpolate_down(pixels[1], pixels[3], fraction_y);
    Sample<double> s = interpolate_across(left, right, fraction_x);
    return std::array{s.value, s.slope_x, s.slope_y};
  });
}

using Flow = std::array<double, 2>;

FlowVector<double> flow_of(const Flow& w) { return {w[0], w[1]}; }

void bind_flow_confidence(py::module_& m) {
  m.def("flows_cancel", [](const Flow& w, const Flow& returned, double a, double b) {
    return bool(
        flows_cancel(flow_of(w), flow_of(returned), {.consistency_scale = a, .consistency_offset = b}));
  });
  m.def("flow_is_smooth", [](const Flow& w, const Flow& right, const Flow& below, double c, double d) {
    return bool(flow_is_smooth(flow_of(w), flow_of(right), flow_of(below),
                               {.boundary_scale = c, .boundary_offset = d}));
  });
}

// Results, and their gradients, in one row: the position, the matrix, the covariance.
template <int N>
void bind_heat(py::module_& m, const std::string& axes) {
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

void bind_soft_argmax(py::module_& m) {
  m.def("heat_reference", [](double largest) { return heat_reference(largest); });
  m.def("heat_weight", [](double logit, double reference, double per_temperature) {
    return heat_weight(logit, reference, per_temperature);
  });
  bind_heat<2>(m, "_2d");
  bind_heat<3>(m, "_3d");
}

using Conventions = std::array<bool, 2>;  // align_corners, grid_align_corners

// f(N) with the number of axes of a position or a size.
template <class F>
Numbers with_axes_of(const Numbers& position, F f) {
  return with_axes(position, [](int n) { return n; }, f);
}

// The axes of an image of this size, x first.
std::vector<PixelAxis<double>> pixel_axes(const Numbers& size, Conventions c) {
  std::vector<PixelAxis<double>> axes;
  for (double pixels : size) axes.emplace_back(pixels, c[0], c[1]);
  return axes;
}

// f(map) of an affine map, or of a projective one, on N axes.
template <int N, class F>
Numbers with_map(const Numbers& row, F f) {
  return row.size() == size_t(affine_size(N)) ? f(affine_of<N>(row)) : f(affine_of<N, N + 1>(row));
}

template <int N>
Matrix<double, N> matrix_of(const Numbers& row) {
  Matrix<double, N> matrix;
  std::copy_n(row.data(), N * N, matrix.at[0]);
  return matrix;
}

// The distances of z from a Gaussian's point.
template <int N>
struct Distances {
  double of[N];

  Distances(const Numbers& z, const Gaussian<double, N>& g) {
    for (int i = 0; i < N; ++i) of[i] = z[i] - g.point[i];
  }
};

void bind_gaussians(py::module_& m) {
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

void bind_pixel_motions(py::module_& m) {
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

void bind_anchor_features(py::module_& m) {
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

}  // namespace

PYBIND11_MODULE(math_bindings, m) {
  bind_value(m);
  bind_bilinear(m);
  bind_upsample_motion(m);
  bind_interpolate(m);
  bind_anchor_affine(m);
  bind_affine_mixture(m);
  bind_confidence_warp(m);
  bind_volume_warp(m);
  bind_masked_backwarp_loss(m);
  bind_flow_confidence(m);
  bind_soft_argmax(m);
  bind_anchor_features(m);
}
