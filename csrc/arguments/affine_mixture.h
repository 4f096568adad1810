// The arguments of affine_mixture, checked.
#pragma once

#include "arguments/anchors.h"

namespace internet {

struct AffineMixtureArguments {
  Tensor logits;  // (B, K+1, (D,) H, W)
  Anchors anchors;
  double threshold;
  bool align_corners;

  AffineMixtureArguments(const Tensor& logits, const Anchors& anchors, double threshold, bool align_corners)
      : logits(logits), anchors(anchors), threshold(threshold), align_corners(align_corners) {
    STD_TORCH_CHECK(logits.dim() == 4 || logits.dim() == 5, "logits: expected (B, K+1, (D,) H, W)");
    anchors.check(logits);
    STD_TORCH_CHECK(logits.size(1) == anchors.count() + 1, "logits: expected (B, K+1, (D,) H, W)");
  }

  int64_t batch() const { return logits.size(0); }
  int64_t axes() const { return logits.dim() - 2; }
  // Of an image or volume, (D,) H, W.
  int64_t size(int64_t axis) const { return logits.size(2 + axis); }

  // (B, (D,) H, W, n)
  Tensor empty_field() const {
    const ScalarType type = compute_type(logits);
    return axes() == 2 ? empty<4>({batch(), size(0), size(1), 2}, type, logits)
                       : empty<5>({batch(), size(0), size(1), size(2), 3}, type, logits);
  }
  void check_grad_field(const Tensor& grad_field) const {
    if (axes() == 2) {
      check_computed("grad_field", grad_field, logits, {batch(), size(0), size(1), 2});
    } else {
      check_computed("grad_field", grad_field, logits, {batch(), size(0), size(1), size(2), 3});
    }
  }
};

}  // namespace internet
