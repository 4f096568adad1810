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

// The source in packs of channels: a copy, unless it is like that in memory.
template <class T, int N>
struct Packed {
  Tensor copy;
  PackedSource<T> source;

  Packed(const AnchorFeaturesArguments& a, cudaStream_t stream) : copy(nothing(a.source)), source{} {
    constexpr int n = channels_of_a_pack<T>;
    const auto view = strided<const T, N + 2>(a.source);
    PackSource<T, N> p{
        .source = view, .batch = a.batch(), .channels = a.channels(), .size = {}, .packed = nullptr};
    source.pixels = 1;
    for (int axis = 0; axis < N; ++axis) source.pixels *= p.size[axis] = a.source.size(2 + axis);
    if (a.channels() == n && pixel_major(view.stride, n, p.size) && in_vectors<T>(a.source, n)) {
      source.data = view.data;
      source.image_stride = view.stride[0];
      return;
    }
    source.image_stride = p.packs() * source.pixels * n;
    copy = empty<2>({a.batch(), source.image_stride}, a.source.scalar_type(), a.source);
    source.data = p.packed = data<T>(copy);
    check(pack_source(p, stream));
  }
};

template <class S, int N>
PixelGrid<S, N> grid_of(const AnchorFeaturesArguments& a) {
  int64_t sizes[N];
  for (int axis = 0; axis < N; ++axis) sizes[axis] = a.source.size(2 + axis);
  return pixel_grid<S>(a.batch(), sizes, a.grid_align_corners);
}

// Uninitialised memory for structs of numbers S, as a tensor of these sizes followed by the numbers of a
// struct.
template <class Struct, class S, size_t rank>
Tensor empty_structs(const std::array<int64_t, rank>& sizes, const Tensor& like) {
  std::array<int64_t, rank + 1> all;
  std::copy(sizes.begin(), sizes.end(), all.begin());
  all[rank] = sizeof(Struct) / sizeof(S);
  return empty<rank + 1>(all, like.scalar_type(), like);
}

// The motions of all anchors, computed on the device; the background comes first.
template <class S, int N>
struct Motions {
  Tensor motions, backgrounds;

  Motions(const AnchorFeaturesArguments& a, cudaStream_t stream)
      : motions(
            empty_structs<AnchorMotion<S, N>, S, 2>({a.batch(), a.anchors.count() + 1}, a.anchors.kp_source)),
        backgrounds(empty_structs<math::Projective<S, N>, S, 1>({a.anchors.background ? a.batch() : 0},
                                                                a.anchors.kp_source)) {
    const auto axes = a.pixel_axes<N>();
    const auto copied = [&](auto... axis) -> AnchorMotions<S, N> {
      return {.anchors = a.heat_map_views<S, N>(),
              .batch = a.batch(),
              .count = a.anchors.count(),
              .axes = {axes[axis]...},
              .motions = data<AnchorMotion<S, N>>(motions),
              .backgrounds = a.anchors.background ? data<math::Projective<S, N>>(backgrounds) : nullptr};
    };
    if constexpr (N == 2) {
      check(anchor_motions(copied(0, 1), stream));
    } else {
      check(anchor_motions(copied(0, 1, 2), stream));
    }
  }

  const AnchorMotion<S, N>* of_anchors() const { return data<const AnchorMotion<S, N>>(motions); }
  const math::Projective<S, N>* of_backgrounds() const {
    return backgrounds.numel() == 0 ? nullptr : data<const math::Projective<S, N>>(backgrounds);
  }
};

Tensor forward(Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, OptionalTensor background, OptionalTensor covariance_source,
               OptionalTensor covariance_driving, double variance, bool align_corners,
               bool grid_align_corners) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving, background},
                                  covariance_source, covariance_driving, variance, align_corners,
                                  grid_align_corners);
  check_channels(a);
  const Device device(source);
  const Tensor output = a.empty_output();
  with_storage_type_and_axes(source, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes();
    const Motions<S, N> motions(a, device.stream());
    const Packed<T, N> packed(a, device.stream());
    AnchorFeaturesForward<T, N> p{.grid = grid_of<S, N>(a),
                                  .plan = {},
                                  .source = packed.source,
                                  .motions = motions.of_anchors(),
                                  .backgrounds = motions.of_backgrounds(),
                                  .output = strided<T, N + 2>(output),
                                  .channels = int(a.channels()),
                                  .anchors = int(a.anchors.count()) + 1,
                                  .has_covariances = a.covariance_source.has_value()};
    p.plan = plan_forward(p);
    check(anchor_features_forward(p, device.stream()));
  });
  return output;
}

// The partial sums of the backward pass for each part of an image: of each anchor and of the background.
template <class S, int N>
struct Partials {
  Tensor motion, background, heat;

  Partials(const AnchorFeaturesArguments& a, int64_t parts, bool wanted)
      : motion(empty_structs<math::Affine<S, N>, S, 3>({wanted ? a.batch() : 0, parts, a.anchors.count()},
                                                       a.anchors.kp_source)),
        background(empty_structs<math::Projective<S, N>, S, 2>(
            {wanted && a.anchors.background ? a.batch() : 0, parts}, a.anchors.kp_source)),
        heat(empty_structs<math::HeatMapMoments<S, N>, S, 3>(
            {wanted ? a.batch() : 0, parts, a.anchors.count()}, a.anchors.kp_source)) {}
};

// The gradients of all seven tensors except the source.
struct AnchorTensors : AnchorFeaturesPointGradients {
  using AnchorFeaturesPointGradients::AnchorFeaturesPointGradients;

  template <class S, int N>
  void fill(const AnchorFeaturesArguments& a, const Partials<S, N>& partials, int64_t parts,
            cudaStream_t stream) {
    const int64_t batch = a.batch(), count = a.anchors.count();
    anchors = a.anchors.empty_gradients();
    check(anchor_gradients<S, N>(
        {.anchors = a.anchors.views<S, N>(),
         .batch = batch,
         .count = count,
         .parts = parts,
         .partials = data<const math::Affine<S, N>>(partials.motion),
         .background_partials = data<const math::Projective<S, N>>(partials.background),
         .kp_source = data<S>(anchors[0]),
         .kp_driving = data<S>(anchors[1]),
         .jac_source = a.anchors.jac_source ? data<S>(anchors[2]) : nullptr,
         .jac_driving = a.anchors.jac_driving ? data<S>(anchors[3]) : nullptr,
         .background = a.anchors.background ? data<S>(anchors[4]) : nullptr},
        stream));
    if (a.covariance_source) {
      covariance_source = empty<4>({batch, count, N, N}, compute_type(a.source), a.source);
      covariance_driving = empty<4>({batch, count, N, N}, compute_type(a.source), a.source);
    }
    check(heat_map_gradients<S, N>(
        {.anchors = a.heat_map_views<S, N>(),
         .batch = batch,
         .count = count,
         .parts = parts,
         .partials = data<const math::HeatMapMoments<S, N>>(partials.heat),
         .kp_source = data<S>(anchors[0]),
         .kp_driving = data<S>(anchors[1]),
         .covariance_source = a.covariance_source ? data<S>(covariance_source) : nullptr,
         .covariance_driving = a.covariance_driving ? data<S>(covariance_driving) : nullptr},
        stream));
  }
};

AnchorFeaturesGradients backward(Tensor grad_output, Tensor source, Tensor kp_source, Tensor kp_driving,
                                 OptionalTensor jac_source, OptionalTensor jac_driving,
                                 OptionalTensor background, OptionalTensor covariance_source,
                                 OptionalTensor covariance_driving, double variance, bool align_corners,
                                 bool grid_align_corners, bool need_source, bool need_anchors,
                                 bool deterministic) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving, background},
                                  covariance_source, covariance_driving, variance, align_corners,
                                  grid_align_corners);
  check_channels(a);
  a.check_grad_output(grad_output);
  const Device device(source);
  ScatteredGradient grad_source(source, need_source, deterministic, device.stream());
  int64_t pixels = 1;
  for (int axis = 0; axis < a.axes(); ++axis) pixels *= a.size(axis);
  if (grad_source.deterministic()) {  // a sample contributes at most its own gradient
    Magnitudes largest(source, device.stream());
    largest.measure(0, grad_output);
    grad_source.bound_by(largest, 1, false, false, (a.anchors.count() + 1) * pixels);
  }
  AnchorTensors grad(a);
  with_storage_type_and_axes(source, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes();
    const Motions<S, N> motions(a, device.stream());
    const Packed<T, N> packed(a, device.stream());
    AnchorFeaturesBackward<T, N> p{.grid = grid_of<S, N>(a),
                                   .plan = {},
                                   .grad_output = strided<const T, N + 2>(grad_output),
                                   .source = packed.source,
                                   .motions = motions.of_anchors(),
                                   .backgrounds = motions.of_backgrounds(),
                                   .background = strided<const S, 3>(a.anchors.background),
                                   .sums = {},
                                   .to_anchors = need_anchors,
                                   .has_covariances = a.covariance_source.has_value(),
                                   .grad_motion = nullptr,
                                   .grad_background = nullptr,
                                   .grad_heat = nullptr,
                                   .channels = int(a.channels()),
                                   .anchors = int(a.anchors.count()) + 1,
                                   .scale = {}};
    const auto pixel_axes = a.pixel_axes<N>();
    for (int axis = 0; axis < N; ++axis) p.scale[axis] = S(pixel_axes[axis].scale);
    p.plan = plan_backward(p);
    const int64_t parts = anchor_features_parts(p.grid);
    const Partials<S, N> partials(a, parts, need_anchors);
    p.grad_motion = data<math::Affine<S, N>>(partials.motion);
    p.grad_background = data<math::Projective<S, N>>(partials.background);
    p.grad_heat = data<math::HeatMapMoments<S, N>>(partials.heat);
    grad_source.accumulate([&](const GradientSums& sums) {
      p.sums = sums;
      check(anchor_features_backward(p, device.stream()));
    });
    if (need_anchors) grad.fill<S, N>(a, partials, parts, device.stream());
  });
  const AnchorGradientTensors& g = grad.anchors;
  return {grad_source.result(),   g[0], g[1], g[2], g[3], g[4], grad.covariance_source,
          grad.covariance_driving};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("anchor_features", TORCH_BOX(&forward));
  m.impl("anchor_features_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
