#include <limits>

#include "arguments/anchor_features.h"
#include "cpu/anchor_features/kernels.h"
#include "cpu/anchors/anchor_affines.h"
#include "cpu/runtime/scratch.h"

namespace internet::cpu {
namespace {

// Nanoseconds for: a value of the framed source; a value of the output, forward and backward; a row's range.
constexpr double prepare_time = 0.3, forward_time = 0.5, backward_time = 1, range_time = 20;

template <int n>
AnchorFeaturesShape<n> shape_of(const AnchorFeaturesArguments& a) {
  AnchorFeaturesShape<n> shape{.channels = a.channels(),
                               .size = {},
                               .anchors = a.anchors.count(),
                               .framed = {},
                               .lead = a.channels() % 4 == 0 ? 0 : 1,
                               .grid_align_corners = a.grid_align_corners};
  for (int axis = 0; axis < n; ++axis) shape.size[axis] = shape.framed.size[axis] = a.size(axis);
  shape.framed.blocks = (shape.lead + shape.channels + 3) / 4;
  STD_TORCH_CHECK(shape.framed.pixels() <= std::numeric_limits<int32_t>::max(),
                  "source: images of more than 2^31 pixels are not supported");
  return shape;
}

// Input of both directions.
template <class T, int n>
struct Prepared {
  using S = opmath<T>;
  AnchorFeaturesShape<n> shape;
  std::array<math::PixelAxis<double>, n> axes;
  HeatMapViews<S, n> views;
  Scratch<S> framed, factors;
  std::vector<math::HeatMap<double, n>> heat_maps;       // (B, K)
  std::vector<math::Affine<double, n>> motions;          // (B, K+1)
  std::vector<math::Projective<double, n>> backgrounds;  // (B), or none

  explicit Prepared(const AnchorFeaturesArguments& a)
      : shape(shape_of<n>(a)),
        axes(a.pixel_axes<n>()),
        views(a.heat_map_views<S, n>()),
        framed(a.batch() * shape.framed.total()),
        factors(views.has_covariances() ? 0 : a.batch() * shape.anchors * 2 * shape.factors()) {
    const int64_t batch = a.batch(), count = shape.anchors;
    for (int64_t b = 0; b < batch; ++b) {
      motions.push_back(math::pixel_stillness<n>(axes.data()));
      for (int64_t k = 0; k < count; ++k) {
        heat_maps.push_back(views.at(b, k));
        motions.push_back(math::pixel_motion(math::anchor_affine(views.anchors.at(b, k)), axes.data()));
      }
      if (!a.anchors.background) continue;
      const auto background = projective<n>(views.anchors.background, b).template to<double>();
      backgrounds.push_back(math::pixel_motion(background, axes.data()));
    }
    const AnchorFeaturesPrepare<T, n> p{.shape = shape,
                                        .batch = batch,
                                        .source = strided<const T, n + 2>(a.source),
                                        .framed = framed.data(),
                                        .heat_maps = heat_maps.data(),
                                        .factors = factors.data(),
                                        .per_twice_variance = S(0.5 / a.variance)};
    const int64_t tasks = batch * (shape.framed.rows() + (views.has_covariances() ? 0 : count));
    run(anchor_features_prepare_kernel<T, n>(), p, tasks,
        tasks_per_thread(prepare_time * shape.framed.pitch()));
  }

  AnchorFeaturesInputs<T, n> inputs() const {
    return {.shape = shape,
            .framed = framed.data(),
            .factors = views.has_covariances() ? nullptr : factors.data(),
            .heat_maps = heat_maps.data(),
            .motions = motions.data(),
            .backgrounds = backgrounds.empty() ? nullptr : backgrounds.data()};
  }
};

Tensor forward(Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, OptionalTensor background, OptionalTensor covariance_source,
               OptionalTensor covariance_driving, double variance, bool align_corners,
               bool grid_align_corners) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving, background},
                                  covariance_source, covariance_driving, variance, align_corners,
                                  grid_align_corners);
  const Tensor output = a.empty_output();
  if (output.numel() == 0) return output;
  with_storage_type_and_axes(source, [&](auto storage, auto axes) {
    using T = decltype(storage);
    constexpr int n = axes();
    const Prepared<T, n> prepared(a);
    const AnchorFeaturesForward<T, n> p{.inputs = prepared.inputs(), .output = strided<T, n + 2>(output)};
    const AnchorFeaturesShape<n>& shape = prepared.shape;
    run(anchor_features_forward_kernel<T, n>(), p, a.batch() * shape.rows(),
        tasks_per_thread(forward_time * a.output_channels() * shape.size[0]));
  });
  return output;
}

// How many bands a source is cut into: enough tasks for the threads of current machines over the whole batch,
// but tall bands, because output rows that sample two of them are walked twice.
int64_t bands_of(int64_t batch, int64_t height) {
  constexpr int64_t least_rows = 16;
  return std::clamp<int64_t>(std::min(16 / batch, height / least_rows), 1, 8);
}

// Partial sums of the gradients with respect to everything but the source.
template <int n>
struct Partials {
  MapPartials<n> maps;                                // in pixels
  std::vector<math::HeatMapMoments<double, n>> heat;  // (B, bands, K)

  Partials(const AnchorFeaturesArguments& a, int64_t tasks)
      : maps{std::vector<math::Affine<double, n>>(tasks * a.anchors.count()),
             std::vector<math::Projective<double, n>>(a.anchors.background ? tasks : 0)},
        heat(tasks * a.anchors.count()) {}
};

// The seven gradients other than the source's. Those of the key points and the covariances also receive a
// part through the heat maps.
struct AnchorTensors : AnchorFeaturesPointGradients {
  using AnchorFeaturesPointGradients::AnchorFeaturesPointGradients;

  template <class T, int n>
  void fill(const AnchorFeaturesArguments& a, const HeatMapViews<opmath<T>, n>& views, Partials<n> partials,
            int64_t bands) {
    using S = opmath<T>;
    const auto axes = a.pixel_axes<n>();
    for (auto& map : partials.maps.affine) map = math::pixel_motion_vjp(map, axes.data());
    for (auto& map : partials.maps.background) map = math::pixel_motion_vjp(map, axes.data());
    anchors = gradients<S, n>(a.anchors, partials.maps);
    const int64_t batch = a.batch(), count = a.anchors.count();
    if (a.covariance_source) {
      covariance_source = empty<4>({batch, count, n, n}, compute_type(a.source), a.source);
      covariance_driving = empty<4>({batch, count, n, n}, compute_type(a.source), a.source);
    }
    for (int64_t i = 0; i < batch * count; ++i) {
      const int64_t b = i / count, k = i % count;
      const auto moments = sum_of_parts(partials.heat, bands, count, b, k);
      math::KeyPoints<double, n> points{};
      views.add_point_gradients(b, k, moments, points);
      for (int axis = 0; axis < n; ++axis) {
        static_cast<S*>(anchors[0].data_ptr())[n * i + axis] += S(points.source[axis]);
        static_cast<S*>(anchors[1].data_ptr())[n * i + axis] += S(points.driving[axis]);
      }
      if (!a.covariance_source) continue;
      write<S>(covariance_source, i, views.source_covariance_gradient(b, k, moments));
      write<S>(covariance_driving, i, views.driving_covariance_gradient(b, k, moments));
    }
  }

 private:
  template <class S, int n>
  static void write(const Tensor& matrices, int64_t i, const math::Matrix<double, n>& matrix) {
    std::copy_n(matrix.at[0], n * n, static_cast<S*>(matrices.data_ptr()) + i * n * n);
  }
};

AnchorFeaturesGradients backward(Tensor grad_output, Tensor source, Tensor kp_source, Tensor kp_driving,
                                 OptionalTensor jac_source, OptionalTensor jac_driving,
                                 OptionalTensor background, OptionalTensor covariance_source,
                                 OptionalTensor covariance_driving, double variance, bool align_corners,
                                 bool grid_align_corners, bool need_source, bool need_anchors,
                                 bool /* deterministic */) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving, background},
                                  covariance_source, covariance_driving, variance, align_corners,
                                  grid_align_corners);
  a.check_grad_output(grad_output);
  const int64_t batch = a.batch();
  const Tensor grad_source = need_source ? empty_image_like(source) : nothing(source);
  AnchorTensors grad(a);
  with_storage_type_and_axes(source, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int n = axes();
    int64_t pixels = batch;
    for (int axis = 0; axis < n; ++axis) pixels *= a.size(axis);
    if (pixels == 0) {
      if (need_anchors) grad.fill<T, n>(a, a.heat_map_views<S, n>(), Partials<n>(a, 0), 0);
      return;
    }
    if (!need_source && !need_anchors) return;
    const Prepared<T, n> prepared(a);
    const AnchorFeaturesShape<n>& shape = prepared.shape;
    const int64_t bands = bands_of(batch, shape.size[1]), rows = batch * shape.rows();
    Partials<n> partials(a, need_anchors ? batch * bands : 0);
    std::vector<RowRange> row_ranges(need_source ? rows * (shape.anchors + 1) : 0);
    const AnchorFeaturesRowRanges<T, n> ranges{.inputs = prepared.inputs(), .row_ranges = row_ranges.data()};
    if (need_source)
      run(anchor_features_row_ranges_kernel<T, n>(), ranges, rows,
          tasks_per_thread(range_time * (shape.anchors + 1)));
    const AnchorFeaturesBackward<T, n> p{
        .inputs = prepared.inputs(),
        .bands = bands,
        .row_ranges = row_ranges.data(),
        .grad_output = strided<const T, n + 2>(grad_output),
        .grad_source = need_source ? strided<T, n + 2>(grad_source) : Strided<T, n + 2>{},
        .to_anchors = need_anchors,
        .to_jacobians = a.anchors.jac_source.has_value(),
        .motion_partials = partials.maps.affine.data(),
        .background_partials = partials.maps.background.data(),
        .heat_partials = partials.heat.data()};
    run(anchor_features_backward_kernel<T, n>(), p, batch * bands,
        tasks_per_thread(backward_time * a.output_channels() * (pixels / (batch * bands))));
    if (need_anchors) grad.fill<T, n>(a, prepared.views, std::move(partials), bands);
  });
  const AnchorGradientTensors& g = grad.anchors;
  return {grad_source, g[0], g[1], g[2], g[3], g[4], grad.covariance_source, grad.covariance_driving};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("anchor_features", TORCH_BOX(&forward));
  m.impl("anchor_features_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
