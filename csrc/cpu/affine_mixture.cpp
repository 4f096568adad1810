#include "affine_mixture.h"

#include "anchors.h"

namespace internet::cpu {
namespace {

void check(const Tensor& logits, const Anchors& anchors) {
  STD_TORCH_CHECK(logits.dim() == 4 && logits.size(1) == anchors.count() + 1,
                  "logits: expected (B, K+1, H, W)");
  anchors.check(logits);
}

Tensor forward(Tensor logits, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, double threshold, bool align_corners) {
  Anchors anchors{kp_source, kp_driving, jac_source, jac_driving};
  check(logits, anchors);
  int64_t batch = logits.size(0), height = logits.size(2), width = logits.size(3);
  Tensor field = empty<4>({batch, height, width, 2}, motion_type(logits), logits);
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const auto maps = affines<S>(anchors);
    AffineMixtureForward<T> p{.logits = strided<const T, 4>(logits),
                              .affine = maps.data(),
                              .field = static_cast<S*>(field.data_ptr()),
                              .anchors = anchors.count(),
                              .height = height,
                              .width = width,
                              .threshold = S(threshold),
                              .align_corners = align_corners};
    int64_t row_elements = (anchors.count() + 3) * width;
    run(affine_mixture_forward_kernel<T>(), p, batch * height, elements_per_thread / (row_elements + 1));
  });
  return field;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

Gradients backward(Tensor grad_field, Tensor logits, Tensor kp_source, Tensor kp_driving,
                   OptionalTensor jac_source, OptionalTensor jac_driving, double threshold,
                   bool align_corners, bool need_logits, bool need_anchors) {
  Anchors anchors{kp_source, kp_driving, jac_source, jac_driving};
  check(logits, anchors);
  int64_t batch = logits.size(0), height = logits.size(2), width = logits.size(3);
  check_motion("grad_field", grad_field, logits, {batch, height, width, 2});
  Tensor grad_logits = need_logits ? empty_image_like(logits) : nothing(logits);
  std::array<Tensor, 4> grad_anchors;
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const auto maps = affines<S>(anchors);
    int64_t groups = (height + rows_per_group - 1) / rows_per_group;
    std::vector<math::Affine<double>> partials(batch * groups * anchors.count());
    AffineMixtureBackward<T> p{.logits = strided<const T, 4>(logits),
                               .grad_field = strided<const S, 4>(grad_field),
                               .affine = maps.data(),
                               .grad_logits = need_logits ? strided<T, 4>(grad_logits) : Strided<T, 4>{},
                               .partials = partials.data(),
                               .anchors = anchors.count(),
                               .height = height,
                               .width = width,
                               .threshold = S(threshold),
                               .align_corners = align_corners};
    int64_t group_elements = 2 * (anchors.count() + 2) * width * rows_per_group;
    run(affine_mixture_backward_kernel<T>(), p, batch * groups, elements_per_thread / (group_elements + 1));
    grad_anchors = need_anchors ? gradients<S>(anchors, partials) : anchors.no_gradients();
  });
  return {grad_logits, grad_anchors[0], grad_anchors[1], grad_anchors[2], grad_anchors[3]};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("affine_mixture", TORCH_BOX(&forward));
  m.impl("affine_mixture_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
