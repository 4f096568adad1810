// What a dense-motion network sees of one anchor: two Gaussians' difference, and the source moved.
//
// The Gaussian of a key point p is a product of one factor per axis, exp(-(x - p_x)^2/2v) times the same of
// y: factors are made once per row and column, and a pixel costs a product.
//
// The motion is affine in normalised coordinates, and these are affine in pixel indices, of the output in
// one convention and of the source in perhaps another. So it is affine from output pixel (j, i) to source
// pixel t; a pixel costs one multiplication and addition per axis, and sums of gradients times j and i are
// turned into the gradient with respect to the normalised motion at the very end.
#pragma once

#include "anchor_affine.h"
#include "bilinear.h"
#include "exponential.h"

namespace internet::math {

template <class V>
INTERNET_HD V gaussian_factor(V z, ScalarOf<V> key_point, ScalarOf<V> per_twice_variance) {
  V d = z - key_point;
  return exp_below_88(V(-d * d * per_twice_variance));
}

// Both factors at once, where an exponential for each pixel is affordable.
template <class S>
INTERNET_HD S gaussian(S x, S y, const S* key_point, S per_twice_variance) {
  const S dx = x - key_point[0], dy = y - key_point[1];
  return exp_below_88(-(dx * dx + dy * dy) * per_twice_variance);
}
template <class S>
INTERNET_HD S heat_difference(S x, S y, const KeyPoints<S, 2>& p, S per_twice_variance) {
  return gaussian(x, y, p.driving, per_twice_variance) - gaussian(x, y, p.source, per_twice_variance);
}
// Adds what reaches the key points from g, the gradient with respect to that difference. The derivative of a
// Gaussian with respect to its key point p is itself times (z - p)/v.
template <class S>
INTERNET_HD void add_heat_pull(KeyPoints<S, 2>& sum, S g, S x, S y, const KeyPoints<S, 2>& p,
                               S per_twice_variance) {
  const S scale = g * 2 * per_twice_variance;
  const S driving = scale * gaussian(x, y, p.driving, per_twice_variance);
  const S source = -scale * gaussian(x, y, p.source, per_twice_variance);
  sum.driving[0] += driving * (x - p.driving[0]);
  sum.driving[1] += driving * (y - p.driving[1]);
  sum.source[0] += source * (x - p.source[0]);
  sum.source[1] += source * (y - p.source[1]);
}

// One axis: output pixel j sits at z = start + step j, and z is the source's pixel t = scale z + offset.
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

// The motion from output pixels to source pixels.
template <class S>
INTERNET_HD Affine<S, 2> pixel_motion(const Affine<S, 2>& t, const PixelAxis<S>& x, const PixelAxis<S>& y) {
  const auto& m = t.matrix;
  return {{{x.scale * m[0][0] * x.step, x.scale * m[0][1] * y.step},
           {y.scale * m[1][0] * x.step, y.scale * m[1][1] * y.step}},
          {x.scale * (m[0][0] * x.start + m[0][1] * y.start + t.offset[0]) + x.offset,
           y.scale * (m[1][0] * x.start + m[1][1] * y.start + t.offset[1]) + y.offset}};
}

// That of the background, which stands still: exactly the identity if the conventions are the same.
template <class S>
INTERNET_HD Affine<S, 2> pixel_stillness(const PixelAxis<S>& x, const PixelAxis<S>& y) {
  const Affine<S, 2> still{{{1, 0}, {0, 1}}, {0, 0}};
  return x.same_convention ? still : pixel_motion(still, x, y);
}

// From the gradient with respect to the motion in pixels to that with respect to the normalised motion.
template <class S>
INTERNET_HD Affine<S, 2> pixel_motion_vjp(const Affine<S, 2>& g, const PixelAxis<S>& x,
                                          const PixelAxis<S>& y) {
  const auto& m = g.matrix;
  return {{{x.scale * (x.step * m[0][0] + x.start * g.offset[0]),
            x.scale * (y.step * m[0][1] + y.start * g.offset[0])},
           {y.scale * (x.step * m[1][0] + x.start * g.offset[1]),
            y.scale * (y.step * m[1][1] + y.start * g.offset[1])}},
          {x.scale * g.offset[0], y.scale * g.offset[1]}};
}

}  // namespace internet::math
