// The scalar arithmetic of csrc/math for Python, in double: scalar_math.py compiles this, and the tests
// compare values with the equations and vector-Jacobian products with finite differences.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "math/affine_mixture.h"
#include "math/anchor_affine.h"
#include "math/anchor_features.h"
#include "math/bilinear.h"
#include "math/confidence_warp.h"
#include "math/flow_confidence.h"
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

// Parameters and gradients of an anchor in one row: source 2, driving 2, two matrices of 4.
using AnchorRow = std::array<double, 12>;

Anchor<double> anchor_of(const AnchorRow& row) {
  Anchor<double> a;
  for (int i = 0; i < 2; ++i) a.source[i] = row[i], a.driving[i] = row[2 + i];
  for (int i = 0; i < 4; ++i) a.source_jacobian[i] = row[4 + i], a.driving_jacobian[i] = row[8 + i];
  return a;
}

void bind_anchor_affine(py::module_& m) {
  m.def("kept_determinant", [](double det) { return kept_determinant(det); });
  m.def("anchor_affine", [](const AnchorRow& row) {
    Affine<double> t = anchor_affine(anchor_of(row));
    return std::array{t.xx, t.xy, t.yx, t.yy, t.x, t.y};
  });
  m.def("anchor_affine_vjp", [](const AnchorRow& row, const std::array<double, 6>& grad) {
    Affine<double> g{grad[0], grad[1], grad[2], grad[3], grad[4], grad[5]};
    Anchor<double> a = anchor_affine_vjp(anchor_of(row), g);
    AnchorRow out;
    for (int i = 0; i < 2; ++i) out[i] = a.source[i], out[2 + i] = a.driving[i];
    for (int i = 0; i < 4; ++i) out[4 + i] = a.source_jacobian[i], out[8 + i] = a.driving_jacobian[i];
    return out;
  });
  m.def("row_motion", [](const std::array<double, 6>& affine, double y) {
    RowMotion<double> r =
        Affine<double>{affine[0], affine[1], affine[2], affine[3], affine[4], affine[5]}.row(y);
    return std::array{r.x_slope, r.x_offset, r.y_slope, r.y_offset};
  });
}

using Motions = std::vector<std::array<double, 4>>;

auto motion_of(const Motions& motions) {
  return [&motions](int k) {
    const auto& m = motions[k - 1];
    return RowMotion<double>{m[0], m[1], m[2], m[3]};
  };
}

auto exponential_of(const std::vector<double>& logits) {
  double largest = logits[0];
  for (double logit : logits) largest = larger(largest, logit);
  return [&logits, largest](int k) { return exp_below_88(logits[k] - largest); };
}

template <bool thresholded>
std::array<double, 2> compose_field(const std::vector<double>& logits, const Motions& motions, double x,
                                    double y, double threshold) {
  auto f =
      compose<thresholded>(int(motions.size()), exponential_of(logits), motion_of(motions), x, y, threshold);
  return {f.x, f.y};
}

template <bool thresholded>
auto compose_gradients(const std::vector<double>& logits, const Motions& motions, double x, double y,
                       double threshold, double gx, double gy) {
  std::vector<double> grad_logit(logits.size()), by_motion(logits.size());
  compose_vjp<thresholded>(int(motions.size()), exponential_of(logits), motion_of(motions), x, y, threshold,
                           gx, gy, [&](int k, double logit, double weight) {
                             grad_logit[k] = logit;
                             by_motion[k] = weight;
                           });
  return std::make_pair(grad_logit, by_motion);
}

// Two neighbouring pixels, each with logits of its own.
auto compose_two(const std::array<std::vector<double>, 2>& logits, const Motions& motions, double x,
                 double x_step, double y) {
  auto stepped = [&](int k) {
    RowMotion<double> t = motion_of(motions)(k);
    return SteppedMotion<double>{t, t.x_slope * x_step, t.y_slope * x_step};
  };
  std::array<std::vector<double>, 2> kept{std::vector<double>(logits[0].size()),
                                          std::vector<double>(logits[1].size())};
  const double at[2] = {x, x + x_step};
  Composition<double> f[2];
  compose_logits<2>(
      int(motions.size()), [&](int k, int i) { return logits[i][k]; }, stepped, at, y,
      [&](int k, int i, double e) { kept[i][k] = e; }, f);
  return std::make_pair(std::array{f[0].x, f[0].y, f[1].x, f[1].y}, kept);
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

void bind_soft_argmax(py::module_& m) {
  m.def("heat_reference", [](double largest) { return heat_reference(largest); });
  m.def("heat_weight", [](double logit, double reference, double per_temperature) {
    return heat_weight(logit, reference, per_temperature);
  });
  // Results and their gradients: x, y, then the matrix.
  m.def("heat_logit_gradient",
        [](const std::array<double, 6>& results, const std::array<double, 6>& grads, double heat, double x,
           double y, const std::array<double, 4>& map, double per_temperature) {
          HeatGradient<double> g{};
          g.x = results[0], g.y = results[1], g.grad_x = grads[0], g.grad_y = grads[1];
          for (int c = 0; c < 4; ++c) g.jac[c] = results[2 + c], g.grad_jac[c] = grads[2 + c];
          return heat_logit_gradient<true>(g, heat, x, y, map.data(), per_temperature);
        });
}

using Numbers = std::array<double, 6>;
using Conventions = std::array<bool, 2>;  // align_corners, grid_align_corners

Affine<double> affine_of(const Numbers& a) { return {a[0], a[1], a[2], a[3], a[4], a[5]}; }
Numbers numbers_of(const Affine<double>& a) { return {a.xx, a.xy, a.yx, a.yy, a.x, a.y}; }

void bind_anchor_features(py::module_& m) {
  m.def("gaussian_factor", [](double z, double point, double variance) {
    return gaussian_factor(z, point, 1 / (2 * variance));
  });
  // Key points in one row: source, then driving.
  m.def("heat_difference", [](double x, double y, const std::array<double, 4>& p, double variance) {
    return heat_difference(x, y, {{p[0], p[1]}, {p[2], p[3]}}, 1 / (2 * variance));
  });
  m.def("heat_pull", [](double g, double x, double y, const std::array<double, 4>& p, double variance) {
    KeyPoints<double> sum{};
    add_heat_pull(sum, g, x, y, {{p[0], p[1]}, {p[2], p[3]}}, 1 / (2 * variance));
    return std::array{sum.source[0], sum.source[1], sum.driving[0], sum.driving[1]};
  });
  m.def("pixel_motion", [](const Numbers& motion, double width, double height, Conventions c) {
    PixelAxis<double> x(width, c[0], c[1]), y(height, c[0], c[1]);
    return numbers_of(pixel_motion(affine_of(motion), x, y));
  });
  m.def("pixel_motion_vjp", [](const Numbers& grad, double width, double height, Conventions c) {
    PixelAxis<double> x(width, c[0], c[1]), y(height, c[0], c[1]);
    return numbers_of(pixel_motion_vjp(affine_of(grad), x, y));
  });
  m.def("pixel_stillness", [](double width, double height, Conventions c) {
    return numbers_of(
        pixel_stillness(PixelAxis<double>(width, c[0], c[1]), PixelAxis<double>(height, c[0], c[1])));
  });
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
  bind_anchor_affine(m);
  bind_affine_mixture(m);
  bind_confidence_warp(m);
  bind_volume_warp(m);
  bind_masked_backwarp_loss(m);
  bind_flow_confidence(m);
  bind_soft_argmax(m);
  bind_anchor_features(m);
}
