// The arguments of affine_mixture, checked.
#pragma once

#include "arguments/anchors.h"

namespace internet {

struct AffineMixtureArguments {
  Tensor logits;  // (B, K+1, H, W)
  Anchors anchors;
  double threshold;
  bool align_corners;

  AffineMixtureArguments(const Tensor& logits, const Anchors& anchors, double threshold, bool align_corners)
      : logits(logits), anchors(anchors), threshold(threshold), align_corners(align_corners) {
    STD_TORCH_CHECK(logits.dim() == 4, "logits: expected (B, K+1, H, W)");
    anchors.check(logits);
    STD_TORCH_CHECK(logits.size(1) == anchors.count() + 1, "logits: expected (B, K+1, H, W)");
  }

  int64_t batch() const { return logits.size(0); }
  int64_t height() const { return logits.size(2); }
  int64_t width() const { return logits.size(3); }

  Tensor empty_field() const {
    return empty<4>({batch(), height(), width(), 2}, compute_type(logits), logits);
  }
  void check_grad_field(const Tensor& grad_field) const {
    check_computed("grad_field", grad_field, logits, {batch(), height(), width(), 2});
  }
};

}  // namespace internet
