#include "upsample_motion.h"

#include "glue.h"

namespace internet::cuda {
namespace {

using Maps = std::tuple<Tensor, Tensor>;

Maps forward(Tensor flow, OptionalTensor confidence) {
  STD_TORCH_CHECK(flow.dim() == 4, "field: expected (B, h, w, 2)");
  const int64_t batch = flow.size(0), height = flow.size(1), width = flow.size(2);
  check_motion("field", flow, flow, {batch, height, width, 2});
  if (confidence) check_motion("confidence", *confidence, flow, {batch, 1, height, width});
  const Device device(flow);
  const ScalarType type = flow.scalar_type();
  Tensor fine_flow = empty<4>({batch, 2 * height, 2 * width, 2}, type, flow);
  Tensor fine_confidence =
      confidence ? empty<4>({batch, 1, 2 * height, 2 * width}, type, flow) : nothing(flow);
  with_motion_type(flow, [&](auto scalar) {
    using T = decltype(scalar);
    const UpsampleMotion<T> p{.flow = strided<const T, 4>(flow),
                              .confidence = strided<const T, 4>(confidence),
                              .fine_flow = data<T>(fine_flow),
                              .fine_confidence = confidence ? data<T>(fine_confidence) : nullptr,
                              .batch = batch,
                              .height = height,
                              .width = width};
    check(upsample_motion(p, device.stream()));
  });
  return {fine_flow, fine_confidence};
}

Maps backward(Tensor grad_flow, OptionalTensor grad_confidence) {
  STD_TORCH_CHECK(grad_flow.dim() == 4, "grad_field: expected (B, 2h, 2w, 2)");
  const int64_t batch = grad_flow.size(0), height = grad_flow.size(1) / 2, width = grad_flow.size(2) / 2;
  check_motion("grad_field", grad_flow, grad_flow, {batch, 2 * height, 2 * width, 2});
  if (grad_confidence) {
    check_motion("grad_confidence", *grad_confidence, grad_flow, {batch, 1, 2 * height, 2 * width});
  }
  const Device device(grad_flow);
  const ScalarType type = grad_flow.scalar_type();
  Tensor flow = empty<4>({batch, height, width, 2}, type, grad_flow);
  Tensor confidence =
      grad_confidence ? empty<4>({batch, 1, height, width}, type, grad_flow) : nothing(grad_flow);
  with_motion_type(grad_flow, [&](auto scalar) {
    using T = decltype(scalar);
    const UpsampleMotionBackward<T> p{.grad_fine_flow = strided<const T, 4>(grad_flow),
                                      .grad_fine_confidence = strided<const T, 4>(grad_confidence),
                                      .grad_flow = data<T>(flow),
                                      .grad_confidence = grad_confidence ? data<T>(confidence) : nullptr,
                                      .batch = batch,
                                      .height = height,
                                      .width = width};
    check(upsample_motion_backward(p, device.stream()));
  });
  return {flow, confidence};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("upsample_motion", TORCH_BOX(&forward));
  m.impl("upsample_motion_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
