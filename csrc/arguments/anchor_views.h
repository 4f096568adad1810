// The K anchors and the background of each image, as kernels access them: strided tensors of S, float or
// double, for N axes.
#pragma once

#include "arguments/strided.h"
#include "math/anchor_affine.h"

namespace internet {

// The projective motion of image b's background, from a tensor (B, N+1, N+1).
template <int N, class S>
INTERNET_HD math::Projective<S, N> projective(const Strided<const S, 3>& background, int64_t b) {
  const auto& stride = background.stride;
  math::Projective<S, N> p;
  INTERNET_UNROLL
  for (int i = 0; i <= N; ++i) {
    const S* row = background.data + b * stride[0] + i * stride[1];
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) p.matrix[i][j] = row[j * stride[2]];
    p.offset[i] = row[N * stride[2]];
  }
  return p;
}

template <class S, int N>
struct AnchorViews {
  Strided<const S, 3> kp_source, kp_driving;    // (B, K, N)
  Strided<const S, 4> jac_source, jac_driving;  // (B, K, N, N); no data: identities
  Strided<const S, 3> background;               // (B, N+1, N+1); no data: the identity

  // Anchor k of image b, in double: there are few of them, and inverting a Jacobian needs the precision.
  INTERNET_MEMBER math::Anchor<double, N> at(int64_t b, int64_t k) const {
    math::Anchor<double, N> a;
    point(kp_source, b, k, a.source);
    point(kp_driving, b, k, a.driving);
    matrix(jac_source, b, k, a.source_jacobian);
    matrix(jac_driving, b, k, a.driving_jacobian);
    return a;
  }

  INTERNET_MEMBER math::KeyPoints<double, N> points_at(int64_t b, int64_t k) const {
    math::KeyPoints<double, N> a;
    point(kp_source, b, k, a.source);
    point(kp_driving, b, k, a.driving);
    return a;
  }

  // Matrix k of image b of (B, K, N, N); no data: the identity.
  INTERNET_MEMBER static void matrix(const Strided<const S, 4>& view, int64_t b, int64_t k,
                                     double (&out)[N][N]) {
    const S* m = view.data + b * view.stride[0] + k * view.stride[1];
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) {
      INTERNET_UNROLL
      for (int j = 0; j < N; ++j) {
        out[i][j] = view.data == nullptr ? double(i == j) : m[i * view.stride[2] + j * view.stride[3]];
      }
    }
  }

 private:
  INTERNET_MEMBER static void point(const Strided<const S, 3>& view, int64_t b, int64_t k, double (&out)[N]) {
    const S* p = view.data + b * view.stride[0] + k * view.stride[1];
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) out[i] = p[i * view.stride[2]];
  }
};

}  // namespace internet
