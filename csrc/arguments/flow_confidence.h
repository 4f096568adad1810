// The arguments of flow_confidence, checked.
#pragma once

#include "arguments/checks.h"
#include "math/flow_confidence.h"

namespace internet {

struct FlowConfidenceArguments {
  Tensor flow_forward, flow_backward;  // (B, 2, H, W), pixels, x first
  math::FlowBounds<double> bounds;
  bool with_boundary;

  FlowConfidenceArguments(const Tensor& flow_forward, const Tensor& flow_backward,
                          const math::FlowBounds<double>& bounds, bool with_boundary)
      : flow_forward(flow_forward),
        flow_backward(flow_backward),
        bounds(bounds),
        with_boundary(with_boundary) {
    STD_TORCH_CHECK(flow_forward.dim() == 4 && flow_forward.size(1) == 2,
                    "flow_forward: expected (B, 2, H, W)");
    check_like("flow_backward", flow_backward, flow_forward);
  }

  int64_t batch() const { return flow_forward.size(0); }
  int64_t height() const { return flow_forward.size(2); }
  int64_t width() const { return flow_forward.size(3); }

  Tensor empty_mask() const {
    return empty<4>({batch(), 1, height(), width()}, flow_forward.scalar_type(), flow_forward);
  }
};

}  // namespace internet
