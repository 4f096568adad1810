// K anchors a batch as the kernels see them: four strided tensors, S float or double.
#pragma once

#include "arguments/strided.h"
#include "math/anchor_affine.h"

namespace internet {

template <class S>
struct AnchorViews {
  Strided<const S, 3> kp_source, kp_driving;    // (B, K, 2)
  Strided<const S, 4> jac_source, jac_driving;  // (B, K, 2, 2); no data: identities

  // Anchor k of image b, in double: there are few of them, and the inverse deserves it.
  INTERNET_MEMBER math::Anchor<double> at(int64_t b, int64_t k) const {
    math::Anchor<double> a;
    point(kp_source, b, k, a.source);
    point(kp_driving, b, k, a.driving);
    matrix(jac_source, b, k, a.source_jacobian);
    matrix(jac_driving, b, k, a.driving_jacobian);
    return a;
  }

 private:
  INTERNET_MEMBER static void point(const Strided<const S, 3>& view, int64_t b, int64_t k, double* out) {
    const S* p = view.data + b * view.stride[0] + k * view.stride[1];
    out[0] = p[0];
    out[1] = p[view.stride[2]];
  }
  INTERNET_MEMBER static void matrix(const Strided<const S, 4>& view, int64_t b, int64_t k, double* out) {
    if (view.data == nullptr) {
      out[0] = out[3] = 1;
      out[1] = out[2] = 0;
      return;
    }
    const S* m = view.data + b * view.stride[0] + k * view.stride[1];
    out[0] = m[0];
    out[1] = m[view.stride[3]];
    out[2] = m[view.stride[2]];
    out[3] = m[view.stride[2] + view.stride[3]];
  }
};

}  // namespace internet
