// The motion that features are warped by, checked, and its gradient: whatever device they are on.
#pragma once

#include "stable.h"

namespace internet {

struct WarpMotion {
  Tensor flow;                // (B, h, w, 2)
  OptionalTensor confidence;  // (B, 1, h, w)
  bool border, align_corners;

  WarpMotion(const Tensor& flow, const OptionalTensor& confidence, const std::string& padding_mode,
             bool align_corners)
      : flow(flow), confidence(confidence), border(padding_mode == "border"), align_corners(align_corners) {
    STD_TORCH_CHECK(border || padding_mode == "zeros", "padding_mode: expected zeros or border");
    STD_TORCH_CHECK(flow.dim() == 4, "field: expected (B, h, w, 2)");
  }

  // How many progressive 2x steps it is upsampled to the size of the features; checks their shapes.
  int steps_to(const Tensor& features) const {
    STD_TORCH_CHECK(features.dim() == 4, "features: expected (B, C, H, W)");
    const int64_t batch = features.size(0), h = flow.size(1), w = flow.size(2);
    check_motion("field", flow, features, {batch, h, w, 2});
    if (confidence) check_motion("confidence", *confidence, features, {batch, 1, h, w});
    int steps = 0;
    while (h > 0 && h << steps < features.size(2)) ++steps;
    STD_TORCH_CHECK(h << steps == features.size(2) && w << steps == features.size(3),
                    "features: expected a power of two times the size of field");
    return steps;
  }
};

// Gradients of flow and confidence, summed over the levels in the order of their backward passes.
struct WarpMotionGradient {
  Tensor flow, confidence;  // empty: not wanted
  bool wanted, has_confidence, started = false;

  WarpMotionGradient(const WarpMotion& motion, bool wanted)
      : flow(nothing(motion.flow)),
        confidence(nothing(motion.flow)),
        wanted(wanted),
        has_confidence(wanted && motion.confidence) {
    const int64_t batch = motion.flow.size(0), h = motion.flow.size(1), w = motion.flow.size(2);
    const ScalarType type = motion.flow.scalar_type();
    if (wanted) flow = empty<4>({batch, h, w, 2}, type, motion.flow);
    if (has_confidence) confidence = empty<4>({batch, 1, h, w}, type, motion.flow);
  }
};

}  // namespace internet
