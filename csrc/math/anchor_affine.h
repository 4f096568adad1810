// Motions on N = 2 or 3 axes, x first: an anchor's, T(z) = kp_s + J_s J_d^-1 (z - kp_d), written as an affine
// map M z + o; and the background's, which is projective.
#pragma once

#include "value.h"

namespace internet::math {

template <class V, int N>
struct Point {
  V axis[N];
};

// A map to m coordinates along one row of pixels, where all coordinates but x are fixed: affine in x alone.
template <class S, int m>
struct RowMotion {
  S slope[m], offset[m];

  template <class V>
  INTERNET_MEMBER Point<V, m> at(V x) const {
    Point<V, m> to;
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) to.axis[i] = slope[i] * x + offset[i];
    return to;
  }
};

// z + o: an anchor's motion without Jacobians, with the bits of the affine map whose matrix is the identity.
// Along a row, only x changes.
template <class S, int N>
struct Translation {
  S offset[N];

  // The same in another precision.
  template <class Other>
  INTERNET_MEMBER Translation<Other, N> to() const {
    Translation<Other, N> t;
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) t.offset[i] = Other(offset[i]);
    return t;
  }

  INTERNET_MEMBER Translation row(const Point<S, N>& z) const {
    Translation row = *this;
    INTERNET_UNROLL
    for (int i = 1; i < N; ++i) row.offset[i] = z.axis[i] + offset[i];
    return row;
  }
  // Of a row.
  INTERNET_MEMBER Point<S, N> at(S x) const {
    Point<S, N> to;
    to.axis[0] = x + offset[0];
    INTERNET_UNROLL
    for (int i = 1; i < N; ++i) to.axis[i] = offset[i];
    return to;
  }
};

// M z + o, from N coordinates to m.
template <class S, int N, int m = N>
struct Affine {
  S matrix[m][N];
  S offset[m];

  // The map along the row of pixels that z is in.
  INTERNET_MEMBER RowMotion<S, m> row(const Point<S, N>& z) const {
    RowMotion<S, m> row;
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      row.slope[i] = matrix[i][0];
      row.offset[i] = offset[i];
      INTERNET_UNROLL
      for (int j = N - 1; j > 0; --j) row.offset[i] = matrix[i][j] * z.axis[j] + row.offset[i];
    }
    return row;
  }

  // For gradients with respect to a map: adds the part of one point z at which T(z) has the gradient g.
  INTERNET_MEMBER void add_pull(const Point<S, m>& g, const Point<S, N>& z) {
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      INTERNET_UNROLL
      for (int j = 0; j < N; ++j) matrix[i][j] += g.axis[i] * z.axis[j];
      offset[i] += g.axis[i];
    }
  }

  template <class Other>
  INTERNET_MEMBER void add(const Affine<Other, N, m>& other) {
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      INTERNET_UNROLL
      for (int j = 0; j < N; ++j) matrix[i][j] += other.matrix[i][j];
      offset[i] += other.offset[i];
    }
  }

  // The same map in another precision.
  template <class Other>
  INTERNET_MEMBER Affine<Other, N, m> to() const {
    Affine<Other, N, m> map;
    INTERNET_UNROLL
    for (int i = 0; i < m; ++i) {
      INTERNET_UNROLL
      for (int j = 0; j < N; ++j) map.matrix[i][j] = Other(matrix[i][j]);
      map.offset[i] = Other(offset[i]);
    }
    return map;
  }
};

// A projective motion, given by its matrix P of N + 1 rows and columns: h = P (z, 1) is affine in z, and the
// motion is T(z) = h_{1..N} / h_{N+1}. If the denominator vanishes, coordinates are not finite.
template <class S, int N>
using Projective = Affine<S, N, N + 1>;

template <class V, int m>
INTERNET_HD Point<V, m - 1> from_homogeneous(const Point<V, m>& h) {
  const V per_last = splat<V>(1) / h.axis[m - 1];
  Point<V, m - 1> to;
  INTERNET_UNROLL
  for (int i = 0; i < m - 1; ++i) to.axis[i] = h.axis[i] * per_last;
  return to;
}

// The gradient with respect to h, from the gradient g with respect to the motion.
template <class V, int m>
INTERNET_HD Point<V, m> from_homogeneous_vjp(const Point<V, m>& h, const Point<V, m - 1>& g) {
  const V per_last = splat<V>(1) / h.axis[m - 1];
  Point<V, m> out;
  V along = g.axis[0] * h.axis[0];
  INTERNET_UNROLL
  for (int i = 1; i < m - 1; ++i) along = along + g.axis[i] * h.axis[i];
  INTERNET_UNROLL
  for (int i = 0; i < m - 1; ++i) out.axis[i] = g.axis[i] * per_last;
  out.axis[m - 1] = -along * per_last * per_last;
  return out;
}

// One anchor's parameters. Missing Jacobians are identities.
template <class S, int N>
struct Anchor {
  S source[N], driving[N], source_jacobian[N][N], driving_jacobian[N][N];
};

// An anchor's two key points, or the gradient with respect to them.
template <class S, int N>
struct KeyPoints {
  S source[N], driving[N];
};

// The identity times a vector: a coordinate that is not finite makes the others NaN.
template <class S, int N>
INTERNET_HD void times_identity(const S (&vector)[N], S (&out)[N]) {
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    out[i] = vector[i];
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      if (j != i) out[i] += S(0) * vector[j];
    }
  }
}

// The motion of an anchor without Jacobians, and the gradient with respect to its key points.
template <class S, int N>
INTERNET_HD Translation<S, N> anchor_translation(const KeyPoints<S, N>& a) {
  Translation<S, N> t;
  S moved[N];
  times_identity(a.driving, moved);
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) t.offset[i] = a.source[i] - moved[i];
  return t;
}
template <class S, int N>
INTERNET_HD KeyPoints<S, N> anchor_translation_vjp(const S (&grad_offset)[N]) {
  KeyPoints<S, N> grad;
  times_identity(grad_offset, grad.driving);
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    grad.source[i] = grad_offset[i];
    grad.driving[i] = -grad.driving[i];
  }
  return grad;
}

// A determinant closer to zero than this is replaced by it, with the same sign: a collapsed anchor then has a
// large but finite motion.
template <class S>
INTERNET_HD S kept_determinant(S det) {
  constexpr S smallest = S(1e-6);
  if (det < 0) return det > -smallest ? -smallest : det;
  return det < smallest ? smallest : det;
}

template <class S, int N>
struct Matrix {
  S at[N][N];
};

template <class S>
INTERNET_HD Matrix<S, 2> cofactors(const S (&m)[2][2]) {
  return {{{m[1][1], -m[1][0]}, {-m[0][1], m[0][0]}}};
}
// Cyclic row and column indices make the signs of the cofactors implicit.
template <class S>
INTERNET_HD Matrix<S, 3> cofactors(const S (&m)[3][3]) {
  Matrix<S, 3> out;
  INTERNET_UNROLL
  for (int i = 0; i < 3; ++i) {
    const int below = (i + 1) % 3, last = (i + 2) % 3;
    INTERNET_UNROLL
    for (int j = 0; j < 3; ++j) {
      const int next = (j + 1) % 3, after = (j + 2) % 3;
      out.at[i][j] = m[below][next] * m[last][after] - m[below][after] * m[last][next];
    }
  }
  return out;
}

// The gradient with respect to m, from the gradient g with respect to its cofactors. These are linear in a
// 2x2 matrix, and quadratic in a 3x3 one, where the form <g, cofactors(m)> is symmetric in all three factors.
template <class S>
INTERNET_HD Matrix<S, 2> cofactors_vjp(const S (&)[2][2], const S (&g)[2][2]) {
  return cofactors(g);
}
template <class S>
INTERNET_HD Matrix<S, 3> cofactors_vjp(const S (&m)[3][3], const S (&g)[3][3]) {
  Matrix<S, 3> out;
  INTERNET_UNROLL
  for (int i = 0; i < 3; ++i) {
    const int below = (i + 1) % 3, last = (i + 2) % 3;
    INTERNET_UNROLL
    for (int j = 0; j < 3; ++j) {
      const int next = (j + 1) % 3, after = (j + 2) % 3;
      out.at[i][j] = m[below][next] * g[last][after] - m[below][after] * g[last][next] +
                     g[below][next] * m[last][after] - g[below][after] * m[last][next];
    }
  }
  return out;
}

template <class S, int N>
INTERNET_HD S determinant(const S (&m)[N][N]) {
  const Matrix<S, N> c = cofactors(m);
  S det = m[0][0] * c.at[0][0];
  INTERNET_UNROLL
  for (int j = 1; j < N; ++j) det += m[0][j] * c.at[0][j];
  return det;
}

// `det`: the determinant, or its replacement.
template <class S, int N>
INTERNET_HD Matrix<S, N> inverse(const S (&m)[N][N], S det) {
  const Matrix<S, N> c = cofactors(m);
  Matrix<S, N> out;
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) out.at[i][j] = c.at[j][i] / det;
  }
  return out;
}

// The gradient with respect to m, from the gradient g with respect to its inverse I = C^T / det by this same
// determinant:
//   g_C = g^T / det,  g_det = -<g, I> / det,
// where g_det reaches m, through its cofactors, only if the determinant was not replaced.
template <class S, int N>
INTERNET_HD Matrix<S, N> inverse_vjp(const S (&m)[N][N], S det, const Matrix<S, N>& g) {
  const Matrix<S, N> c = cofactors(m), i = inverse(m, det);
  Matrix<S, N> grad_cofactors;
  S along = 0;
  INTERNET_UNROLL
  for (int row = 0; row < N; ++row) {
    INTERNET_UNROLL
    for (int column = 0; column < N; ++column) {
      grad_cofactors.at[column][row] = g.at[row][column] / det;
      along += g.at[row][column] * i.at[row][column];
    }
  }
  const S grad_det = det == determinant(m) ? -along / det : S(0);
  Matrix<S, N> out = cofactors_vjp(m, grad_cofactors.at);
  INTERNET_UNROLL
  for (int row = 0; row < N; ++row) {
    INTERNET_UNROLL
    for (int column = 0; column < N; ++column) out.at[row][column] += grad_det * c.at[row][column];
  }
  return out;
}

template <class S, int N>
INTERNET_HD Affine<S, N> anchor_affine(const Anchor<S, N>& a) {
  const S det = kept_determinant(determinant(a.driving_jacobian));
  const Matrix<S, N> inverted = inverse(a.driving_jacobian, det);
  Affine<S, N> t;
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    S moved = 0;
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      t.matrix[i][j] = 0;
      INTERNET_UNROLL
      for (int l = 0; l < N; ++l) t.matrix[i][j] += a.source_jacobian[i][l] * inverted.at[l][j];
      moved += t.matrix[i][j] * a.driving[j];
    }
    t.offset[i] = a.source[i] - moved;
  }
  return t;
}

// The gradient with respect to the anchor's parameters, from the gradient g with respect to M and o.
//
// o = kp_s - M kp_d adds -g_o kp_d^T to g_M. With M = J_s I:  g_Js = g_M I^T,  g_I = J_s^T g_M.
template <class S, int N>
INTERNET_HD Anchor<S, N> anchor_affine_vjp(const Anchor<S, N>& a, const Affine<S, N>& g) {
  const Affine<S, N> t = anchor_affine(a);
  const S det = kept_determinant(determinant(a.driving_jacobian));
  const Matrix<S, N> inverted = inverse(a.driving_jacobian, det);
  Anchor<S, N> out{};
  Matrix<S, N> grad_matrix, grad_inverse{};
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    out.source[i] = g.offset[i];
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      grad_matrix.at[i][j] = g.matrix[i][j] - g.offset[i] * a.driving[j];
      out.driving[j] -= t.matrix[i][j] * g.offset[i];
    }
  }
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      INTERNET_UNROLL
      for (int l = 0; l < N; ++l) {
        out.source_jacobian[i][j] += grad_matrix.at[i][l] * inverted.at[j][l];
        grad_inverse.at[i][j] += a.source_jacobian[l][i] * grad_matrix.at[l][j];
      }
    }
  }
  const Matrix<S, N> grad_driving = inverse_vjp(a.driving_jacobian, det, grad_inverse);
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) out.driving_jacobian[i][j] = grad_driving.at[i][j];
  }
  return out;
}

}  // namespace internet::math
