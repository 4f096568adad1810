#include "arguments/masked_backwarp_loss.h"
#include "cuda/masked_backwarp_loss/kernels.h"
#include "cuda/sampling/map_adjoint.h"
#include "cuda/scatter/scattered_gradient.h"

namespace internet::cuda {
namespace {

Tensor forward(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence, std::string norm,
               std::string reduction, std::string padding_mode) {
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  const Device device(output);
  const int64_t count = a.local() ? 0 : masked_backwarp_loss_partials(a.batch(), a.height(), a.width());
  const Tensor partials = empty<1>({count}, ScalarType::Double, output);
  const Tensor loss = a.empty_loss();
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const MaskedBackwarpLoss<T> p{.in = a.inputs<T>(),
                                  .partials = a.local() ? nullptr : data<double>(partials),
                                  .local = a.local() ? data<S>(loss) : nullptr};
    check(masked_backwarp_loss(p, device.stream()));
    if (a.local()) return;
    check(sum_partials<S>({.partials = data<const double>(partials),
                           .count = count,
                           .divisor = a.divisor(),
                           .loss = data<S>(loss)},
                          device.stream()));
  });
  return loss;
}

// The bound on contributions to the output's gradient: a penalty's slope is at most 1, except for the
// square's, which is twice the residual.
void bound_sums(ScatteredGradient& sums, const BackwarpArguments& a, const Tensor& grad_loss,
                cudaStream_t stream) {
  const bool squared = a.norm == math::Penalty::l2;
  Magnitudes largest(a.output, stream);
  largest.measure(0, grad_loss);
  if (a.mask) largest.measure(1, *a.mask);
  if (squared) {
    largest.measure(2, a.output);
    largest.measure(3, a.target);
  }
  sums.bound_by(largest, (squared ? 2 : 1) / a.divisor(), a.mask.has_value(), squared,
                a.height() * a.width());
}

// The gradient of the coarse mask, from the gradient at full resolution.
template <class S>
Tensor fold_mask(const BackwarpArguments& a, const Tensor& fine, cudaStream_t stream) {
  const Tensor coarse = a.empty_mask();
  check(map_adjoint<S>({.resize = {.height = a.mask_height(),
                                   .width = a.mask_width(),
                                   .fine_height = a.height(),
                                   .fine_width = a.width(),
                                   .steps = a.mask_steps},
                        .batch = a.batch(),
                        .channels = 1,
                        .parts = 1,
                        .fine = data<const S>(fine),
                        .coarse = data<S>(coarse)},
                       stream));
  return coarse;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Gradients backward(Tensor grad_loss, Tensor output, Tensor target, Tensor flow, OptionalTensor confidence,
                   std::string norm, std::string reduction, std::string padding_mode, bool need_output,
                   bool need_target, bool need_motion, bool deterministic) {
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  a.check_grad_loss(grad_loss);
  const Device device(output);
  const bool need_mask = need_motion && confidence;
  ScatteredGradient grad_output(output, need_output, deterministic, device.stream());
  Tensor grad_target = need_target ? empty_image_like(target) : nothing(target);
  const Tensor grad_flow = need_motion ? a.empty_map(2) : nothing(flow);
  Tensor grad_mask = need_mask ? a.empty_map(1) : nothing(flow);
  if (grad_output.deterministic()) bound_sums(grad_output, a, grad_loss, device.stream());
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    MaskedBackwarpLossBackward<T> p{.in = a.inputs<T>(),
                                    .grad_loss = a.grad_of_loss<S>(grad_loss),
                                    .grad_scale = S(1 / a.divisor()),
                                    .sums = {},
                                    .grad_target = need_target ? strided<T, 4>(grad_target) : Strided<T, 4>{},
                                    .grad_flow = need_motion ? data<S>(grad_flow) : nullptr,
                                    .grad_mask = need_mask ? data<S>(grad_mask) : nullptr};
    grad_output.accumulate([&](const GradientSums& sums) {
      p.sums = sums;
      check(masked_backwarp_loss_backward(p, device.stream()));
    });
    if (need_mask && a.mask_steps > 0) grad_mask = fold_mask<S>(a, grad_mask, device.stream());
  });
  return {grad_output.result(), grad_target, grad_flow, grad_mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("masked_backwarp_loss", TORCH_BOX(&forward));
  m.impl("masked_backwarp_loss_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
