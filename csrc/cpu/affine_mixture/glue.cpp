#include "arguments/affine_mixture.h"
#include "cpu/affine_mixture/kernels.h"
#include "cpu/anchors/anchor_affines.h"

namespace internet::cpu {
namespace {

Tensor forward(Tensor logits, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, double threshold, bool align_corners) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving}, threshold,
                                 align_corners);
  const int64_t count = a.anchors.count(), height = a.height(), width = a.width();
  const Tensor field = a.empty_field();
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const auto maps = affines<S>(a.anchors);
    AffineMixtureForward<T> p{.logits = strided<const T, 4>(logits),
                              .affine = maps.data(),
                              .field = static_cast<S*>(field.data_ptr()),
                              .anchors = count,
                              .height = height,
                              .width = width,
                              .threshold = S(threshold),
                              .align_corners = align_corners};
    int64_t row_elements = (count + 3) * width;
    run(affine_mixture_forward_kernel<T>(), p, a.batch() * height, elements_per_thread / (row_elements + 1));
  });
  return field;
}

AnchoredGradients backward(Tensor grad_field, Tensor logits, Tensor kp_source, Tensor kp_driving,
                           OptionalTensor jac_source, OptionalTensor jac_driving, double threshold,
                           bool align_corners, bool need_logits, bool need_anchors) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving}, threshold,
                                 align_corners);
  a.check_grad_field(grad_field);
  const int64_t batch = a.batch(), count = a.anchors.count(), height = a.height(), width = a.width();
  const Tensor grad_logits = need_logits ? empty_image_like(logits) : nothing(logits);
  std::array<Tensor, 4> grad_anchors;
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const auto maps = affines<S>(a.anchors);
    int64_t groups = (height + rows_per_group - 1) / rows_per_group;
    std::vector<math::Affine<double>> partials(batch * groups * count);
    AffineMixtureBackward<T> p{.logits = strided<const T, 4>(logits),
                               .grad_field = strided<const S, 4>(grad_field),
                               .affine = maps.data(),
                               .grad_logits = need_logits ? strided<T, 4>(grad_logits) : Strided<T, 4>{},
                               .partials = partials.data(),
                               .anchors = count,
                               .height = height,
                               .width = width,
                               .threshold = S(threshold),
                               .align_corners = align_corners};
    int64_t group_elements = 2 * (count + 2) * width * rows_per_group;
    run(affine_mixture_backward_kernel<T>(), p, batch * groups, elements_per_thread / (group_elements + 1));
    grad_anchors = need_anchors ? gradients<S>(a.anchors, partials) : a.anchors.no_gradients();
  });
  return anchored_gradients(grad_logits, grad_anchors);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("affine_mixture", TORCH_BOX(&forward));
  m.impl("affine_mixture_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
