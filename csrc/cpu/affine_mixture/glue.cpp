#include "arguments/affine_mixture.h"
#include "cpu/affine_mixture/kernels.h"
#include "cpu/anchors/anchor_affines.h"

namespace internet::cpu {
namespace {

// Nanoseconds for each value read or written; a pixel has K+1 logits and n coordinates.
constexpr double forward_time = 0.2, backward_time = 0.25;

// The anchors' maps, and the parameters that both directions share.
template <class T, int N>
struct Prepared {
  using S = opmath<T>;
  std::vector<math::Affine<S, N>> maps;
  std::vector<math::Projective<S, N>> projective;
  AffineMixture<T, N> mixture;

  explicit Prepared(const AffineMixtureArguments& a)
      : maps(affines<S, N>(a.anchors)),
        projective(backgrounds<S, N>(a.anchors)),
        mixture{.logits = strided<const T, N + 2>(a.logits),
                .affine = maps.data(),
                .background = a.anchors.background ? projective.data() : nullptr,
                .anchors = a.anchors.count(),
                .size = {},
                .threshold = S(a.threshold),
                .align_corners = a.align_corners} {
    for (int axis = 0; axis < N; ++axis) mixture.size[axis] = a.size(axis);
  }
};

Tensor forward(Tensor logits, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, OptionalTensor background, double threshold, bool align_corners) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving, background},
                                 threshold, align_corners);
  const Tensor field = a.empty_field();
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    constexpr int N = axes;
    const Prepared<T, N> prepared(a);
    const AffineMixture<T, N>& mixture = prepared.mixture;
    const AffineMixtureForward<T, N> p{.mixture = mixture,
                                       .field = static_cast<opmath<T>*>(field.data_ptr())};
    const int64_t row_elements = (mixture.anchors + 1 + N) * mixture.width();
    run(affine_mixture_forward_kernel<T, N>(), p, a.batch() * mixture.rows(),
        tasks_per_thread(forward_time * row_elements));
  });
  return field;
}

AnchoredGradients backward(Tensor grad_field, Tensor logits, Tensor kp_source, Tensor kp_driving,
                           OptionalTensor jac_source, OptionalTensor jac_driving, OptionalTensor background,
                           double threshold, bool align_corners, bool need_logits, bool need_anchors) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving, background},
                                 threshold, align_corners);
  a.check_grad_field(grad_field);
  const Tensor grad_logits = need_logits ? empty_image_like(logits) : nothing(logits);
  AnchorGradientTensors grad_anchors;
  with_storage_type_and_axes(logits, [&](auto storage, auto axes) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int N = axes;
    const Prepared<T, N> prepared(a);
    const AffineMixture<T, N>& mixture = prepared.mixture;
    const int64_t tasks = a.batch() * mixture.groups();
    MapPartials<N> partials{.affine = std::vector<math::Affine<double, N>>(tasks * mixture.anchors),
                            .background = std::vector<math::Projective<double, N>>(background ? tasks : 0)};
    const AffineMixtureBackward<T, N> p{
        .mixture = mixture,
        .grad_field = strided<const S, N + 2>(grad_field),
        .grad_logits = need_logits ? strided<T, N + 2>(grad_logits) : Strided<T, N + 2>{},
        .partials = partials.affine.data(),
        .background_partials = partials.background.data(),
        .matrices = need_anchors && jac_source};
    const int64_t group_elements = 2 * (mixture.anchors + N) * mixture.width() * rows_per_group;
    run(affine_mixture_backward_kernel<T, N>(), p, tasks, tasks_per_thread(backward_time * group_elements));
    grad_anchors = need_anchors ? gradients<S, N>(a.anchors, partials) : a.anchors.no_gradients();
  });
  return anchored_gradients(grad_logits, grad_anchors);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("affine_mixture", TORCH_BOX(&forward));
  m.impl("affine_mixture_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
