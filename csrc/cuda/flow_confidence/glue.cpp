#include "cuda/runtime/glue.h"

#include "arguments/flow_confidence.h"
#include "cuda/flow_confidence/kernels.h"

namespace internet::cuda {
namespace {

Tensor forward(Tensor flow_forward, Tensor flow_backward, double consistency_scale, double consistency_offset,
               bool with_boundary, double boundary_scale, double boundary_offset) {
  const FlowConfidenceArguments a(flow_forward, flow_backward,
                                  {consistency_scale, consistency_offset, boundary_scale, boundary_offset},
                                  with_boundary);
  const Device device(flow_forward);
  const Tensor mask = a.empty_mask();
  with_storage_type(flow_forward.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const FlowConfidence<T> p{.flow_forward = strided<const T, 4>(flow_forward),
                              .flow_backward = strided<const T, 4>(flow_backward),
                              .mask = data<T>(mask),
                              .batch = a.batch(),
                              .height = a.height(),
                              .width = a.width(),
                              .bounds = a.bounds.as<S>(),
                              .with_boundary = with_boundary};
    check(flow_confidence(p, device.stream()));
  });
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) { m.impl("flow_confidence", TORCH_BOX(&forward)); }

}  // namespace internet::cuda
