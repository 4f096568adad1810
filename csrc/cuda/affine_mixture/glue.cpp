#include "cuda/runtime/glue.h"

#include "arguments/affine_mixture.h"
#include "cuda/affine_mixture/kernels.h"
#include "cuda/anchors/anchor_affines.h"

namespace internet::cuda {
namespace {

constexpr int64_t affine_values = 6;  // of a math::Affine
static_assert(sizeof(math::Affine<float, 2>) == affine_values * sizeof(float));

// What the blocks need instead of shared memory, if they need it.
Tensor scratch_of(const TilePlan& plan, const AffineMixtureArguments& a) {
  const int64_t blocks = a.batch() * plan.tiles(a.size(0) * a.size(1));
  return empty<1>({needs_scratch(plan) ? blocks * int64_t(plan.shared_bytes) : 0}, ScalarType::Byte,
                  a.logits);
}

// (B, K) affine maps, made on the device.
template <class S>
Tensor affines(const Anchors& anchors, cudaStream_t stream) {
  const int64_t batch = anchors.batch(), count = anchors.count();
  Tensor maps = empty<3>({batch, count, affine_values}, anchors.kp_source.scalar_type(), anchors.kp_source);
  check(anchor_affines<S, 2>({.anchors = anchors.views<S, 2>(),
                              .batch = batch,
                              .count = count,
                              .affine = data<math::Affine<S, 2>>(maps)},
                             stream));
  return maps;
}

template <class S>
AnchorGradientTensors gradients(const Anchors& anchors, const Tensor& partials, int64_t parts,
                                cudaStream_t stream) {
  AnchorGradientTensors out = anchors.empty_gradients();
  check(anchor_gradients<S, 2>({.anchors = anchors.views<S, 2>(),
                                .batch = anchors.batch(),
                                .count = anchors.count(),
                                .parts = parts,
                                .partials = data<const math::Affine<S, 2>>(partials),
                                .direct = nullptr,
                                .background_partials = nullptr,
                                .kp_source = data<S>(out[0]),
                                .kp_driving = data<S>(out[1]),
                                .jac_source = anchors.jac_source ? data<S>(out[2]) : nullptr,
                                .jac_driving = anchors.jac_driving ? data<S>(out[3]) : nullptr,
                                .background = nullptr},
                               stream));
  return out;
}

Tensor forward(Tensor logits, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, OptionalTensor background, double threshold, bool align_corners) {
  const AffineMixtureArguments a(logits, {kp_source, kp_driving, jac_source, jac_driving, background},
                                 threshold, align_corners);
  STD_TORCH_CHECK(a.axes() == 2 && !background, "images alone, and no background");
  const Device device(logits);
  const Tensor field = a.empty_field();
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const int count = int(a.anchors.count());
    const TilePlan plan = plan_forward<S>(count);
    const Tensor maps = affines<S>(a.anchors, device.stream()), scratch = scratch_of(plan, a);
    const AffineMixtureForward<T> p{.grid = pixel_grid<S>(a.batch(), a.size(0), a.size(1), align_corners),
                                    .plan = plan,
                                    .logits = strided<const T, 4>(logits),
                                    .affine = data<const math::Affine<S, 2>>(maps),
                                    .field = data<S>(field),
                                    .scratch = data<unsigned char>(scratch),
                                    .anchors = count,
                                    .threshold = S(threshold)};
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
  const int64_t batch = a.batch(), height = a.size(0), width = a.size(1);
  STD_TORCH_CHECK(a.axes() == 2 && !background, "images alone, and no background");
  const Device device(logits);
  Tensor grad_logits = need_logits ? empty_image_like(logits) : nothing(logits);
  AnchorGradientTensors grad_anchors = a.anchors.no_gradients();
  with_storage_type(logits.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const int count = int(a.anchors.count());
    const auto out = need_logits ? strided<T, 4>(grad_logits) : Strided<T, 4>{};
    const TilePlan plan = plan_backward<S>(count, width, need_logits ? out.stride : nullptr);
    const int64_t tiles = plan.tiles(height * width);
    const Tensor maps = affines<S>(a.anchors, device.stream()), scratch = scratch_of(plan, a);
    const Tensor partials =
        empty<4>({need_anchors ? batch : 0, tiles, count, affine_values}, kp_source.scalar_type(), kp_source);
    const AffineMixtureBackward<T> p{.grid = pixel_grid<S>(batch, height, width, align_corners),
                                     .plan = plan,
                                     .logits = strided<const T, 4>(logits),
                                     .grad_field = strided<const S, 4>(grad_field),
                                     .affine = data<const math::Affine<S, 2>>(maps),
                                     .grad_logits = out,
                                     .partials = need_anchors ? data<math::Affine<S, 2>>(partials) : nullptr,
                                     .scratch = data<unsigned char>(scratch),
                                     .anchors = count,
                                     .threshold = S(threshold)};
    check(affine_mixture_backward(p, device.stream()));
    if (need_anchors) grad_anchors = gradients<S>(a.anchors, partials, tiles, device.stream());
  });
  return anchored_gradients(grad_logits, grad_anchors);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("affine_mixture", TORCH_BOX(&forward));
  m.impl("affine_mixture_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
