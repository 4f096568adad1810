// The local motion of one anchor: T(z) = kp_s + J_s J_d^-1 (z - kp_d), written as an affine map M z + o.
#pragma once

#include "value.h"

namespace internet::math {

template <class V>
struct Point {
  V x, y;
};

// T along one row of pixels, where y is fixed: affine in x alone.
template <class S>
struct RowMotion {
  S x_slope, x_offset, y_slope, y_offset;

  template <class V>
  INTERNET_MEMBER Point<V> at(V x) const {
    return {x_slope * x + x_offset, y_slope * x + y_offset};
  }
};

template <class S>
struct Affine {
  S xx, xy, yx, yy;  // M, row by row
  S x, y;            // o

  INTERNET_MEMBER RowMotion<S> row(S at_y) const { return {xx, xy * at_y + x, yx, yy * at_y + y}; }

  // Of a gradient with respect to a map: adds the part of one point z, where T(z) has the gradient g.
  INTERNET_MEMBER void add_pull(S gx, S gy, S z_x, S z_y) {
    xx += gx * z_x;
    xy += gx * z_y;
    yx += gy * z_x;
    yy += gy * z_y;
    x += gx;
    y += gy;
  }
};

// One anchor's parameters, x first, matrices row by row; no Jacobians (both null) are identities.
template <class S>
struct Anchor {
  S source[2], driving[2], source_jacobian[4], driving_jacobian[4];
};

// An anchor's two key points, or the gradient with respect to them.
template <class S>
struct KeyPoints {
  S source[2], driving[2];
};

// A determinant closer to zero than this is replaced by it, its sign kept: a collapsed anchor then moves far,
// but finitely.
template <class S>
INTERNET_HD S kept_determinant(S det) {
  constexpr S smallest = S(1e-6);
  if (det < 0) return det > -smallest ? -smallest : det;
  return det < smallest ? smallest : det;
}

template <class S>
struct Matrix {
  S xx, xy, yx, yy;
};
template <class S>
INTERNET_HD Matrix<S> inverse(const S* m) {
  S det = kept_determinant(m[0] * m[3] - m[1] * m[2]);
  return {m[3] / det, -m[1] / det, -m[2] / det, m[0] / det};
}

template <class S>
INTERNET_HD Affine<S> anchor_affine(const Anchor<S>& a) {
  Matrix<S> i = inverse(a.driving_jacobian);
  const S* j = a.source_jacobian;
  Affine<S> t;
  t.xx = j[0] * i.xx + j[1] * i.yx;
  t.xy = j[0] * i.xy + j[1] * i.yy;
  t.yx = j[2] * i.xx + j[3] * i.yx;
  t.yy = j[2] * i.xy + j[3] * i.yy;
  t.x = a.source[0] - (t.xx * a.driving[0] + t.xy * a.driving[1]);
  t.y = a.source[1] - (t.yx * a.driving[0] + t.yy * a.driving[1]);
  return t;
}

// Gradient with respect to the anchor's parameters, from the gradient g with respect to M and o.
//
// o = kp_s - M kp_d passes M the extra -g_o kp_d^T. With M = J_s I and I = adj(J_d)/det:
//   g_Js = g_M I^T,  g_I = J_s^T g_M,  g_adj = g_I / det,  g_det = -<g_I, I> / det,
// where g_det reaches J_d only if the determinant was not replaced.
template <class S>
INTERNET_HD Anchor<S> anchor_affine_vjp(const Anchor<S>& a, const Affine<S>& g) {
  const S* j = a.source_jacobian;
  const S* d = a.driving_jacobian;
  Affine<S> t = anchor_affine(a);
  Matrix<S> i = inverse(d);
  S gxx = g.xx - g.x * a.driving[0], gxy = g.xy - g.x * a.driving[1];
  S gyx = g.yx - g.y * a.driving[0], gyy = g.yy - g.y * a.driving[1];
  Anchor<S> out;
  out.source[0] = g.x;
  out.source[1] = g.y;
  out.driving[0] = -(t.xx * g.x + t.yx * g.y);
  out.driving[1] = -(t.xy * g.x + t.yy * g.y);
  out.source_jacobian[0] = gxx * i.xx + gxy * i.xy;
  out.source_jacobian[1] = gxx * i.yx + gxy * i.yy;
  out.source_jacobian[2] = gyx * i.xx + gyy * i.xy;
  out.source_jacobian[3] = gyx * i.yx + gyy * i.yy;
  S ixx = j[0] * gxx + j[2] * gyx, ixy = j[0] * gxy + j[2] * gyy;
  S iyx = j[1] * gxx + j[3] * gyx, iyy = j[1] * gxy + j[3] * gyy;
  S true_det = d[0] * d[3] - d[1] * d[2];
  S det = kept_determinant(true_det);
  S gdet = det == true_det ? -(ixx * i.xx + ixy * i.xy + iyx * i.yx + iyy * i.yy) / det : S(0);
  out.driving_jacobian[0] = iyy / det + gdet * d[3];
  out.driving_jacobian[1] = -ixy / det - gdet * d[2];
  out.driving_jacobian[2] = -iyx / det - gdet * d[1];
  out.driving_jacobian[3] = ixx / det + gdet * d[0];
  return out;
}

}  // namespace internet::math
