// What a dense-motion network receives of one anchor: the difference of two Gaussians, and the moved source.
//
// The motion is affine in normalised coordinates, and these are affine in pixel indices, possibly by one
// convention for the output and another for the source. So it is affine from output pixel j to source pixel
// t: a pixel costs one multiply-add per pair of axes, and sums of gradients times j are converted to the
// gradient with respect to the normalised motion only at the very end. Likewise, a projective map of the
// background is one from pixels to pixels.
#pragma once

#include "anchor_affine.h"
#include "bilinear.h"
#include "exponential.h"

namespace internet::math {

// ------------------------------------------------------------------------------------------------ heat maps

// Pairs i <= j of N axes, in the order (0, 0), (0, 1), ..., (1, 1), ...
template <int N>
constexpr int axis_pairs = N * (N + 1) / 2;
template <int N, class Visit>
INTERNET_HD void each_axis_pair(Visit visit) {
  int place = 0;
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) {
    INTERNET_UNROLL
    for (int j = i; j < N; ++j) visit(place++, i, j);
  }
}

// A Gaussian around a key point p, h(z) = e^E with E = sum of exponent_ij d_i d_j over the pairs, d = z - p.
template <class S, int N>
struct Gaussian {
  S point[N];
  S exponent[axis_pairs<N>];
};

// The Gaussians of an anchor. Its heat map is the first minus the second.
template <class S, int N>
struct HeatMap {
  Gaussian<S, N> driving, source;
};

// For a variance v, E = -|d|^2 / 2v.
template <int N>
INTERNET_HD Gaussian<double, N> isotropic_gaussian(const double* point, double variance) {
  Gaussian<double, N> g{};
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) g.point[i] = point[i];
  each_axis_pair<N>([&](int place, int i, int j) { g.exponent[place] = i == j ? -0.5 / variance : 0; });
  return g;
}

// Lower bound on a covariance's determinant, so that a collapsed covariance gives a finite heat map: it
// corresponds to standard deviations of 3e-8 on two axes, and of 1e-5 on three.
template <int N>
INTERNET_HD double covariance_determinant(const double (&covariance)[N][N]) {
  constexpr double smallest = 1e-30;
  const double det = determinant(covariance);
  return det < smallest ? smallest : det;  // NaN stays NaN
}

// For a covariance C, E = -1/2 d^T P d with P = C^-1. An off-diagonal pair combines two entries of P.
template <int N>
INTERNET_HD Gaussian<double, N> covariance_gaussian(const double* point, const double (&covariance)[N][N]) {
  Gaussian<double, N> g;
  const auto precision = inverse(covariance, covariance_determinant(covariance));
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) g.point[i] = point[i];
  each_axis_pair<N>([&](int place, int i, int j) {
    const double both = i == j ? precision.at[i][i] : precision.at[i][j] + precision.at[j][i];
    g.exponent[place] = -0.5 * both;
  });
  return g;
}

// E at the distance d. It exceeds 0 only if the covariance is not positive definite.
template <class V, class S, int N>
INTERNET_HD V exponent_at(const Gaussian<S, N>& g, const V (&d)[N]) {
  V sum = splat<V>(0);
  each_axis_pair<N>([&](int place, int i, int j) { sum += g.exponent[place] * d[i] * d[j]; });
  return sum;
}
// The same for a single variance.
template <class V, class S, int N>
INTERNET_HD V isotropic_exponent_at(const Gaussian<S, N>& g, const V (&d)[N]) {
  V squared = d[0] * d[0];
  INTERNET_UNROLL
  for (int i = 1; i < N; ++i) squared += d[i] * d[i];
  return squared * g.exponent[0];
}
template <class V>
INTERNET_HD V gaussian_value(V exponent) {
  const V zero = splat<V>(0);
  return exp_below_88(select(exponent > zero, zero, exponent));
}
// The factor from the gradient with respect to the value to that with respect to the exponent: the value, or
// 0 where the exponent was clamped.
template <class V>
INTERNET_HD V gaussian_slope(V exponent) {
  const V zero = splat<V>(0);
  return select(exponent > zero, zero, exp_below_88(select(exponent > zero, zero, exponent)));
}

// With a single variance, a Gaussian is a product of one factor per axis: factors are computed once for each
// row and column, and a pixel costs one product.
template <class V>
INTERNET_HD V gaussian_factor(V z, ScalarOf<V> key_point, ScalarOf<V> per_twice_variance) {
  V d = z - key_point;
  return exp_below_88(V(-d * d * per_twice_variance));
}

// A Gaussian along a row of pixels, where all coordinates but x are fixed: E = (curvature d + slope) d +
// level, with d the distance from its key point along x.
template <class S>
struct GaussianRow {
  S point, curvature, slope, level;

  template <class V>
  INTERNET_MEMBER V exponent_at(V x) const {
    const V d = x - point;
    return (curvature * d + slope) * d + level;
  }
};
// d: the row's distances from the key point; the one along x is not used.
template <class S, int N>
INTERNET_HD GaussianRow<S> gaussian_row(const Gaussian<double, N>& g, const double (&d)[N]) {
  double slope = 0, level = 0;
  each_axis_pair<N>([&](int place, int i, int j) {
    if (i > 0) {
      level += g.exponent[place] * d[i] * d[j];
    } else if (j > 0) {
      slope += g.exponent[place] * d[j];
    }
  });
  return {S(g.point[0]), S(g.exponent[0]), S(slope), S(level)};
}

// What the pixels contribute to the gradients of a Gaussian: sums of g h d_i and of g h d_i d_j, where h is
// its value and g the gradient with respect to h. No other sums are needed, because E's derivatives are
//   dE/dp_i = -(2 exponent_ii d_i + sum over j != i of exponent_ij d_j),   dE/dexponent_ij = d_i d_j.
template <class S, int N>
struct GaussianMoments {
  S first[N];
  S second[axis_pairs<N>];

  template <class Other>
  INTERNET_MEMBER void add(const GaussianMoments<Other, N>& other) {
    INTERNET_UNROLL
    for (int i = 0; i < N; ++i) first[i] += other.first[i];
    each_axis_pair<N>([&](int place, int, int) { second[place] += other.second[place]; });
  }
};
// For an anchor's two Gaussians.
template <class S, int N>
struct HeatMapMoments {
  GaussianMoments<S, N> driving, source;

  template <class Other>
  INTERNET_MEMBER void add(const HeatMapMoments<Other, N>& other) {
    driving.add(other.driving);
    source.add(other.source);
  }
};
template <class S, int N>
INTERNET_HD void add_first_moment(GaussianMoments<S, N>& sum, S weight, const S (&d)[N]) {
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) sum.first[i] += weight * d[i];
}
template <class S, int N>
INTERNET_HD void add_second_moment(GaussianMoments<S, N>& sum, S weight, const S (&d)[N]) {
  each_axis_pair<N>([&](int place, int i, int j) { sum.second[place] += weight * d[i] * d[j]; });
}

// Adds the gradient with respect to the key point. Where it does not depend on a coordinate, nothing is
// added, not even 0 times an infinite coordinate.
template <int N>
INTERNET_HD void add_point_gradient(const Gaussian<double, N>& g, const GaussianMoments<double, N>& moments,
                                    double* grad_point) {
  each_axis_pair<N>([&](int place, int i, int j) {
    if (g.exponent[place] == 0) return;
    grad_point[i] -= g.exponent[place] * moments.first[j];
    grad_point[j] -=
        g.exponent[place] * moments.first[i];  // a second time if i is j: the factor 2 of the square
  });
}

// The gradient with respect to the covariance. The two entries of the precision that form a pair's exponent
// get -1/2 of its gradient each; from there it passes through the inverse.
template <int N>
INTERNET_HD Matrix<double, N> covariance_gradient(const double (&covariance)[N][N],
                                                  const GaussianMoments<double, N>& moments) {
  Matrix<double, N> grad_precision;
  each_axis_pair<N>([&](int place, int i, int j) {
    grad_precision.at[i][j] = grad_precision.at[j][i] = -0.5 * moments.second[place];
  });
  return inverse_vjp(covariance, covariance_determinant(covariance), grad_precision);
}

// ---------------------------------------------------------------------------------------- motions in pixels

// One axis: output pixel j lies at z = start + step j, and z is the source's pixel t = scale z + offset.
template <class S>
struct PixelAxis {
  S start, step, scale, offset;
  bool same_convention;

  INTERNET_MEMBER PixelAxis(S size, bool align_corners, bool grid_align_corners)
      : start(normalized_start(size, grid_align_corners)),
        step(normalized_step(size, grid_align_corners)),
        scale(pixels_per_unit(size, align_corners)),
        offset(unnormalize(S(0), size, align_corners)),
        same_convention(align_corners == grid_align_corners) {}
};

// The motion from output pixels to source pixels. A projective one has one more row, its denominator, which
// is the same for pixels as for coordinates; the offset is added to the other rows as a multiple of it.
template <class S, int N, int M>
INTERNET_HD Affine<S, N, M> pixel_motion(const Affine<S, N, M>& t, const PixelAxis<S>* axes) {
  Affine<S, N, M> out;
  INTERNET_UNROLL
  for (int i = M - 1; i >= 0; --i) {
    const S scale = i < N ? axes[i].scale : S(1), offset = i < N ? axes[i].offset : S(0);
    S at_start = 0;
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      at_start += t.matrix[i][j] * axes[j].start;
      out.matrix[i][j] = scale * t.matrix[i][j] * axes[j].step;
      if (M > N && i < N) out.matrix[i][j] += offset * out.matrix[M - 1][j];
    }
    out.offset[i] = scale * (at_start + t.offset[i]) + (M > N && i < N ? offset * out.offset[M - 1] : offset);
  }
  return out;
}

// The motion of a background that stands still: exactly the identity if the conventions are the same.
template <int N, class S>
INTERNET_HD Affine<S, N> pixel_stillness(const PixelAxis<S>* axes) {
  Affine<S, N> still{};
  INTERNET_UNROLL
  for (int i = 0; i < N; ++i) still.matrix[i][i] = 1;
  return axes[0].same_convention ? still : pixel_motion(still, axes);
}

// From the gradient with respect to the motion in pixels to that with respect to the normalised motion.
template <class S, int N, int M>
INTERNET_HD Affine<S, N, M> pixel_motion_vjp(Affine<S, N, M> g, const PixelAxis<S>* axes) {
  INTERNET_UNROLL
  for (int i = 0; i < M; ++i) {
    const S scale = i < N ? axes[i].scale : S(1);
    INTERNET_UNROLL
    for (int j = 0; j < N; ++j) {
      if (M > N && i < N) g.matrix[M - 1][j] += axes[i].offset * g.matrix[i][j];
      g.matrix[i][j] = scale * (axes[j].step * g.matrix[i][j] + axes[j].start * g.offset[i]);
    }
    if (M > N && i < N) g.offset[M - 1] += axes[i].offset * g.offset[i];
    g.offset[i] *= scale;
  }
  return g;
}

// The source pixel that an output pixel at x of a row reads, by an affine or a projective motion.
template <int N, class V, class S, int m>
INTERNET_HD Point<V, N> source_pixel(const RowMotion<S, m>& row, V x) {
  if constexpr (m == N) {
    return row.at(x);
  } else {
    return from_homogeneous(row.at(x));
  }
}

}  // namespace internet::math
