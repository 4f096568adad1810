#include "cuda/runtime/glue.h"

#include "arguments/affine_mixture.h"
#include "cuda/affine_mixture/kernels.h"
#include "cuda/anchors/anchor_affines.h"

namespace internet::cuda {
namespace {

// Uninitialised memory for maps, as a tensor of these dimensions followed by the values of a map.
template <class Map, size_t dims>
Tensor empty_maps(const std::array<int64_t, dims>& maps, const Tensor& like) {
  std::array<int64_t, dims + 1> sizes;
  std::copy(maps.begin(), maps.end(), sizes.begin());
  sizes[dims] = sizeof(Map) / like.element_size();
  return empty(sizes, like.scalar_type(), like);
}

// The anchors' maps, and the parameters that both directions share.
template <class T, int N>
struct Prepared {
  using S = opmath<T>;
  Tensor maps, scratch;
  AffineMixture<T, N> mixture;

  Prepared(const AffineMixtureArguments& a, const TilePlan& plan, cudaStream_t stream)
      : maps(empty_maps<math::Affine<S, N>, 2>({a.batch(), a.anchors.count()}, a.anchors.kp_source)),
        scratch(a.logits),
        mixture{.grid = grid_of(a),
                .plan = plan,
                .logits = strided<const T, N + 2>(a.logits),
                .views = a.anchors.views<S, N>(),
                .affine = data<const math::Affine<S, N>>(maps),
                .scratch = nullptr,
                .anchors = int(a.anchors.count()),
                .translations = !a.anchors.jac_source && !a.anchors.jac_driving,
                .threshold = S(a.threshold)} {
    // Scratch memory for blocks whose tiles do not fit into shared memory.
    const int64_t blocks = needs_scratch(plan) ? a.batch() * plan.tiles(mixture.grid.pixels()) : 0;
    scratch = empty<1>({blocks * int64_t(plan.shared_bytes)}, ScalarType::Byte, a.logits);
    mixture.scratch = data<unsigned char>(scratch);
    if (mixture.translations && !needs_scratch(plan)) return;  // the maps are not read
    check(anchor_affines<S, N>({.anchors = mixture.views,
                                .batch = a.batch(),
                                .count = a.anchors.count(),
                                .affine = data<math::Affine<S, N>>(maps)},
                               stream));
  }

  static PixelGrid<S, N> grid_of(const AffineMixtureArguments& a) {
    int64_t size[N];
    for (int axis = 0; axis < N; ++axis) size[axis] = a.size(axis);
    return pixel_grid<S, N>(a.batch(), size, a.align_corners);
  }
};

template <class S, int N>
AnchorGradientTensors gradients(const Anchors& anchors, const Tensor& partials,
                                const Tensor& background_partials, int64_t parts, cudaStream_t stream) {
  AnchorGradientTensors out = anchors.empty_gradients();
  check(
      anchor_gradients<S, N>({.anchors = anchors.views<S, N>(),
                              .batch = anchors.batch(),
                              .count = anchors.count(),
                              .parts = parts,
                              .partials = data<const math::Affine<S, N>>(partials),
                              .background_partials = data<const math::Projective<S, N>>(background_partials),
                              .kp_source = data<S>(out[0]),
                              .kp_driving = data<S>(out[1]),
                              .jac_source = anchors.jac_source ? data<S>(out[2]) : nullptr,
                              .jac_driving = anchors.jac_driving ? data<S>(out[3]) : nullptr,
                              .background = anchors.background ? data<S>(out[4]) : nullptr},
                             stream));
  return out;
}

Tensor forward(Tensor logits, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, OptionalTensor background, double threshold, bool align_corners) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving, background},
                                 threshold, align_corners);
  const Device device(logits);
  const Tensor field = a.empty_field();
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes;
    const TilePlan plan = plan_forward<S, N>(int(a.anchors.count()));
    const Prepared<T, N> prepared(a, plan, device.stream());
    const AffineMixtureForward<T, N> p{prepared.mixture, data<S>(field)};
    check(affine_mixture_forward(p, device.stream()));
  });
  return field;
}

AnchoredGradients backward(Tensor grad_field, Tensor logits, Tensor kp_source, Tensor kp_driving,
                           OptionalTensor jac_source, OptionalTensor jac_driving, OptionalTensor background,
                           double threshold, bool align_corners, bool need_logits, bool need_anchors) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving, background},
                                 threshold, align_corners);
  a.check_grad_field(grad_field);
  const Device device(logits);
  Tensor grad_logits = need_logits ? empty_image_like(logits) : nothing(logits);
  AnchorGradientTensors grad_anchors = a.anchors.no_gradients();
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes;
    const int64_t count = a.anchors.count();
    const auto out = need_logits ? strided<T, N + 2>(grad_logits) : Strided<T, N + 2>{};
    const auto grid = Prepared<T, N>::grid_of(a);
    const TilePlan plan = plan_backward<S, N>(int(count), grid.size, need_logits ? out.stride : nullptr);
    const Prepared<T, N> prepared(a, plan, device.stream());
    const int64_t tiles = plan.tiles(grid.pixels()), batch = need_anchors ? a.batch() : 0;
    const Tensor partials = empty_maps<math::Affine<S, N>, 3>({batch, tiles, count}, kp_source);
    const Tensor background_partials =
        empty_maps<math::Projective<S, N>, 2>({background ? batch : 0, tiles}, kp_source);
    const AffineMixtureBackward<T, N> p{
        prepared.mixture, strided<const S, N + 2>(grad_field), out,
        need_anchors ? data<math::Affine<S, N>>(partials) : nullptr,
        need_anchors && background ? data<math::Projective<S, N>>(background_partials) : nullptr};
    check(affine_mixture_backward(p, device.stream()));
    if (!need_anchors) return;
    grad_anchors = gradients<S, N>(a.anchors, partials, background_partials, tiles, device.stream());
  });
  return anchored_gradients(grad_logits, grad_anchors);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("affine_mixture", TORCH_BOX(&forward));
  m.impl("affine_mixture_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
