#include "flow_confidence.h"

#include "glue.h"

namespace internet::cuda {
namespace {

Tensor forward(Tensor flow_forward, Tensor flow_backward, double consistency_scale, double consistency_offset,
               bool with_boundary, double boundary_scale, double boundary_offset) {
  STD_TORCH_CHECK(flow_forward.dim() == 4 && flow_forward.size(1) == 2,
                  "flow_forward: expected (B, 2, H, W)");
  check_like("flow_backward", flow_backward, flow_forward);
  const Device device(flow_forward);
  const int64_t batch = flow_forward.size(0), height = flow_forward.size(2), width = flow_forward.size(3);
  Tensor mask = empty<4>({batch, 1, height, width}, flow_forward.scalar_type(), flow_forward);
  with_storage_type(flow_forward.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const FlowConfidence<T> p{.flow_forward = strided<const T, 4>(flow_forward),
                              .flow_backward = strided<const T, 4>(flow_backward),
                              .mask = data<T>(mask),
                              .batch = batch,
                              .height = height,
                              .width = width,
                              .consistency_scale = S(consistency_scale),
                              .consistency_offset = S(consistency_offset),
                              .with_boundary = with_boundary,
                              .boundary_scale = S(boundary_scale),
                              .boundary_offset = S(boundary_offset)};
    check(flow_confidence(p, device.stream()));
  });
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) { m.impl("flow_confidence", TORCH_BOX(&forward)); }

}  // namespace internet::cuda
