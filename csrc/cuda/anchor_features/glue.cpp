#include "cuda/runtime/glue.h"

#include <limits>

#include "arguments/anchor_features.h"
#include "cuda/anchor_features/kernels.h"
#include "cuda/anchors/anchor_affines.h"
#include "cuda/scatter/scattered_gradient.h"

namespace internet::cuda {
namespace {

void check_channels(const AnchorFeaturesArguments& a) {
  STD_TORCH_CHECK(a.output_channels() <= std::numeric_limits<int>::max(),
                  "anchor_features on CUDA: more than 2^31 channels");
}

template <class S>
PixelGrid<S> grid_of(const AnchorFeaturesArguments& a) {
  return pixel_grid<S, 2>(a.batch(), {a.height(), a.width()}, a.grid_align_corners);
}

// (B, K+1), made on the device; the background comes first.
template <class S>
Tensor motions_of(const AnchorFeaturesArguments& a, cudaStream_t stream) {
  const Anchors& anchors = a.anchors;
  constexpr int64_t values = sizeof(AnchorMotion<S>) / sizeof(S);
  Tensor motions = empty<3>({anchors.batch(), anchors.count() + 1, values}, anchors.kp_source.scalar_type(),
                            anchors.kp_source);
  check(anchor_motions<S>({.anchors = anchors.views<S, 2>(),
                           .batch = anchors.batch(),
                           .count = anchors.count(),
                           .x = a.x_axis(),
                           .y = a.y_axis(),
                           .motions = data<AnchorMotion<S>>(motions)},
                          stream));
  return motions;
}

Tensor forward(Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, double variance, bool align_corners, bool grid_align_corners) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving}, variance,
                                  align_corners, grid_align_corners);
  check_channels(a);
  const Device device(source);
  const Tensor output = a.empty_output();
  with_storage_type(source.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const int count = int(a.anchors.count()) + 1, channels = int(a.channels());
    const Tensor motions = motions_of<S>(a, device.stream());
    const auto out = strided<T, 4>(output);
    const AnchorFeaturesForward<T> p{.grid = grid_of<S>(a),
                                     .plan = plan_forward(count, channels, {a.height(), a.width()}, out),
                                     .source = strided<const T, 4>(source),
                                     .motions = data<const AnchorMotion<S>>(motions),
                                     .output = out,
                                     .channels = channels,
                                     .anchors = count,
                                     .per_twice_variance = S(0.5 / variance)};
    check(anchor_features_forward(p, device.stream()));
  });
  return output;
}

// What the tiles of the backward pass leave for each anchor.
template <class S>
struct Partials {
  Tensor grad_motion, grad_heat;

  Partials(const Anchors& anchors, int64_t tiles, bool wanted)
      : grad_motion(partials(anchors, tiles, wanted, sizeof(math::Affine<S, 2>))),
        grad_heat(partials(anchors, tiles, wanted, sizeof(math::KeyPoints<S, 2>))) {}

 private:
  static Tensor partials(const Anchors& anchors, int64_t tiles, bool wanted, size_t bytes) {
    const int64_t batch = wanted ? anchors.batch() : 0, values = bytes / sizeof(S);
    const Tensor& like = anchors.kp_source;
    return empty<4>({batch, tiles, anchors.count(), values}, like.scalar_type(), like);
  }
};

template <class S>
AnchorGradientTensors gradients(const Anchors& anchors, const Partials<S>& partials, int64_t tiles,
                                cudaStream_t stream) {
  AnchorGradientTensors out = anchors.empty_gradients();
  check(anchor_gradients<S, 2>({.anchors = anchors.views<S, 2>(),
                                .batch = anchors.batch(),
                                .count = anchors.count(),
                                .parts = tiles,
                                .partials = data<const math::Affine<S, 2>>(partials.grad_motion),
                                .direct = data<const math::KeyPoints<S, 2>>(partials.grad_heat),
                                .background_partials = nullptr,
                                .kp_source = data<S>(out[0]),
                                .kp_driving = data<S>(out[1]),
                                .jac_source = anchors.jac_source ? data<S>(out[2]) : nullptr,
                                .jac_driving = anchors.jac_driving ? data<S>(out[3]) : nullptr,
                                .background = nullptr},
                               stream));
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    Tensor grad_output, Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
    OptionalTensor jac_driving, double variance, bool align_corners, bool grid_align_corners,
    bool need_source, bool need_anchors, bool deterministic) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving}, variance,
                                  align_corners, grid_align_corners);
  check_channels(a);
  a.check_grad_output(grad_output);
  const int64_t h = a.height(), w = a.width();
  const Device device(source);
  ScatteredGradient grad_source(source, need_source, deterministic, device.stream());
  if (grad_source.deterministic()) {  // a sample gives no more than its gradient
    Magnitudes largest(source, device.stream());
    largest.measure(0, grad_output);
    grad_source.bound_by(largest, 1, false, false, (a.anchors.count() + 1) * h * w);
  }
  AnchorGradientTensors grad_anchors = a.anchors.no_gradients();
  with_storage_type(source.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const int count = int(a.anchors.count()) + 1, channels = int(a.channels());
    const auto grad = strided<const T, 4>(grad_output);
    const AnchorPlan plan = plan_backward(count, channels, {h, w}, grad);
    const int64_t tiles = plan.tile.tiles(h * w);
    const Tensor motions = motions_of<S>(a, device.stream());
    const Partials<S> partials(a.anchors, tiles, need_anchors);
    AnchorFeaturesBackward<T> p{
        .grid = grid_of<S>(a),
        .plan = plan,
        .grad_output = grad,
        .source = strided<const T, 4>(source),
        .motions = data<const AnchorMotion<S>>(motions),
        .sums = {},
        .grad_motion = need_anchors ? data<math::Affine<S, 2>>(partials.grad_motion) : nullptr,
        .grad_heat = need_anchors ? data<math::KeyPoints<S, 2>>(partials.grad_heat) : nullptr,
        .channels = channels,
        .anchors = count,
        .per_twice_variance = S(0.5 / variance),
        .x_scale = S(a.x_axis().scale),
        .y_scale = S(a.y_axis().scale)};
    grad_source.accumulate([&](const GradientSums& sums) {
      p.sums = sums;
      check(anchor_features_backward(p, device.stream()));
    });
    if (need_anchors) grad_anchors = gradients<S>(a.anchors, partials, tiles, device.stream());
  });
  return {grad_source.result(), grad_anchors[0], grad_anchors[1], grad_anchors[2], grad_anchors[3]};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("anchor_features", TORCH_BOX(&forward));
  m.impl("anchor_features_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
