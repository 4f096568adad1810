#include "masked_backwarp_loss.h"

#include "../backwarp_arguments.h"
#include "fold_motion.h"
#include "scattered_gradient.h"

namespace internet::cuda {
namespace {

template <class T, class S = opmath<T>>
BackwarpInputs<T> inputs(const BackwarpArguments& a) {
  return {.batch = a.batch(),
          .channels = a.channels(),
          .height = a.height(),
          .width = a.width(),
          .output = strided<const T, 4>(a.output),
          .target = strided<const T, 4>(a.target),
          .flow = strided<const S, 4>(a.flow),
          .mask = strided<const S, 4>(a.mask),
          .mask_steps = a.mask_steps,
          .norm = a.norm,
          .padding = a.padding};
}

Tensor forward(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence, std::string norm,
               std::string reduction, std::string padding_mode) {
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  const Device device(output);
  const ScalarType type = motion_type(output);
  const int64_t count = a.local() ? 0 : masked_backwarp_loss_partials(a.batch(), a.height(), a.width());
  const Tensor partials = empty<1>({count}, ScalarType::Double, output);
  Tensor loss =
      a.local() ? empty<4>({a.batch(), 1, a.height(), a.width()}, type, output) : empty<0>({}, type, output);
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const MaskedBackwarpLoss<T> p{.in = inputs<T>(a),
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

// What bounds the sums of the output's gradient: a penalty's slope is at most 1, a square's twice the
// residual.
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

// The gradient of the loss as the kernel wants it, one value for all pixels or one each.
template <class S>
Strided<const S, 4> grad_of_loss(const Tensor& grad_loss, bool local) {
  if (local) return strided<const S, 4>(grad_loss);
  return {.data = data<const S>(grad_loss)};
}

// The gradient of the coarse mask, from that at full resolution.
template <class S>
Tensor fold_mask(const BackwarpArguments& a, const Tensor& fine, cudaStream_t stream) {
  const int64_t height = a.height() >> a.mask_steps, width = a.width() >> a.mask_steps;
  Tensor coarse = empty<4>({a.batch(), 1, height, width}, fine.scalar_type(), fine);
  check(fold_motion<S>({.fine = data<const S>(fine),
                        .flow = nullptr,
                        .confidence = data<S>(coarse),
                        .steps = a.mask_steps,
                        .parts = 1,
                        .batch = a.batch(),
                        .height = height,
                        .width = width,
                        .accumulate = false},
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
  const ScalarType type = motion_type(output);
  ScatteredGradient grad_output(output, need_output, deterministic, LeastPass::an_image, device.stream());
  Tensor grad_target = need_target ? empty_image_like(target) : nothing(target);
  Tensor grad_flow =
      need_motion ? empty<4>({a.batch(), 2, a.height(), a.width()}, type, output) : nothing(flow);
  Tensor grad_mask =
      need_mask ? empty<4>({a.batch(), 1, a.height(), a.width()}, type, output) : nothing(flow);
  if (grad_output.deterministic()) bound_sums(grad_output, a, grad_loss, device.stream());
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    MaskedBackwarpLossBackward<T> p{.in = inputs<T>(a),
                                    .grad_loss = grad_of_loss<S>(grad_loss, a.local()),
                                    .grad_scale = S(1 / a.divisor()),
                                    .pass = {},
                                    .grad_target = need_target ? strided<T, 4>(grad_target) : Strided<T, 4>{},
                                    .grad_flow = need_motion ? data<S>(grad_flow) : nullptr,
                                    .grad_mask = need_mask ? data<S>(grad_mask) : nullptr};
    grad_output.accumulate([&](const ScatterPass& pass) {
      p.pass = pass;
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
