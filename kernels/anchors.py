"""The local motion of an anchor, T(z) = kp_s + J_s J_d^-1 (z - kp_d), as an affine map M z + o, and its gradient.

One lane of a block per anchor, in float64 as in csrc/arguments/anchor_views.h: there are few of them, and the inverse
deserves it. An affine map is six numbers: M row by row, then o.
"""

import triton
import triton.language as tl

SMALLEST_DETERMINANT = tl.constexpr(1e-6)


@triton.jit
def load_anchor(
    kp_source, source_image, source_anchor, source_axis,
    kp_driving, driving_image, driving_anchor, driving_axis,
    jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
    jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
    image, anchor, exists,
):  # fmt: skip
    """Twelve numbers: both points, x first, and both Jacobians, row by row; without Jacobians, identities."""
    image = image.to(tl.int64)
    source = kp_source + image * source_image + anchor * source_anchor
    driving = kp_driving + image * driving_image + anchor * driving_anchor
    sx = tl.load(source, mask=exists, other=0.0).to(tl.float64)
    sy = tl.load(source + source_axis, mask=exists, other=0.0).to(tl.float64)
    dx = tl.load(driving, mask=exists, other=0.0).to(tl.float64)
    dy = tl.load(driving + driving_axis, mask=exists, other=0.0).to(tl.float64)
    one = tl.full(sx.shape, 1.0, tl.float64)
    zero = tl.full(sx.shape, 0.0, tl.float64)
    jxx, jxy, jyx, jyy = one, zero, zero, one
    dxx, dxy, dyx, dyy = one, zero, zero, one
    if jac_source is not None:
        at = jac_source + image * jac_source_image + anchor * jac_source_anchor
        jxx, jxy, jyx, jyy = _load_matrix(at, jac_source_row, jac_source_column, exists)
        at = jac_driving + image * jac_driving_image + anchor * jac_driving_anchor
        dxx, dxy, dyx, dyy = _load_matrix(at, jac_driving_row, jac_driving_column, exists)
    return sx, sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy


@triton.jit
def _load_matrix(at, row, column, exists):
    xx = tl.load(at, mask=exists, other=0.0).to(tl.float64)
    xy = tl.load(at + column, mask=exists, other=0.0).to(tl.float64)
    yx = tl.load(at + row, mask=exists, other=0.0).to(tl.float64)
    yy = tl.load(at + row + column, mask=exists, other=0.0).to(tl.float64)
    return xx, xy, yx, yy


@triton.jit
def kept_determinant(det):
    """A determinant closer to zero than 1e-6 is replaced by that, its sign kept: a collapsed anchor moves finitely."""
    smallest = tl.full(det.shape, SMALLEST_DETERMINANT, tl.float64)
    return tl.where(tl.abs(det) < smallest, tl.where(det < 0, -smallest, smallest), det)


@triton.jit
def inverse(xx, xy, yx, yy):
    det = kept_determinant(xx * yy - xy * yx)
    return yy / det, -xy / det, -yx / det, xx / det


@triton.jit
def affine(anchor):
    """M and o of an anchor as `load_anchor` gives it."""
    sx, sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy = anchor
    ixx, ixy, iyx, iyy = inverse(dxx, dxy, dyx, dyy)
    xx = jxx * ixx + jxy * iyx
    xy = jxx * ixy + jxy * iyy
    yx = jyx * ixx + jyy * iyx
    yy = jyx * ixy + jyy * iyy
    return xx, xy, yx, yy, sx - (xx * dx + xy * dy), sy - (yx * dx + yy * dy)


@triton.jit
def affine_vjp(anchor, gradient):
    """Gradient of the twelve numbers of an anchor, from that of M and o.

    o = kp_s - M kp_d passes M the extra -g_o kp_d^T. With M = J_s I and I = adj(J_d)/det:
      g_Js = g_M I^T,  g_I = J_s^T g_M,  g_adj = g_I / det,  g_det = -<g_I, I> / det,
    where g_det reaches J_d only if the determinant was not replaced.
    """
    _sx, _sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy = anchor
    gxx, gxy, gyx, gyy, gx, gy = gradient
    xx, xy, yx, yy, _x, _y = affine(anchor)
    ixx, ixy, iyx, iyy = inverse(dxx, dxy, dyx, dyy)
    gxx, gxy = gxx - gx * dx, gxy - gx * dy
    gyx, gyy = gyx - gy * dx, gyy - gy * dy
    bxx, bxy = jxx * gxx + jyx * gyx, jxx * gxy + jyx * gyy
    byx, byy = jxy * gxx + jyy * gyx, jxy * gxy + jyy * gyy
    true_det = dxx * dyy - dxy * dyx
    det = kept_determinant(true_det)
    grad_det = tl.where(det == true_det, -(bxx * ixx + bxy * ixy + byx * iyx + byy * iyy) / det, 0.0)
    return (
        gx, gy,
        -(xx * gx + yx * gy), -(xy * gx + yy * gy),
        gxx * ixx + gxy * ixy, gxx * iyx + gxy * iyy, gyx * ixx + gyy * ixy, gyx * iyx + gyy * iyy,
        byy / det + grad_det * dyy, -bxy / det - grad_det * dyx,
        -byx / det - grad_det * dxy, bxx / det + grad_det * dxx,
    )  # fmt: skip


@triton.jit
def load_affine(affines, exists):
    """Six numbers at each of the pointers `affines`, in float64."""
    xx = tl.load(affines, mask=exists, other=0.0).to(tl.float64)
    xy = tl.load(affines + 1, mask=exists, other=0.0).to(tl.float64)
    yx = tl.load(affines + 2, mask=exists, other=0.0).to(tl.float64)
    yy = tl.load(affines + 3, mask=exists, other=0.0).to(tl.float64)
    x = tl.load(affines + 4, mask=exists, other=0.0).to(tl.float64)
    y = tl.load(affines + 5, mask=exists, other=0.0).to(tl.float64)
    return xx, xy, yx, yy, x, y


@triton.jit
def store_affine(affines, motion, exists):
    """Six numbers to each of the pointers `affines`."""
    xx, xy, yx, yy, x, y = motion
    tl.store(affines, xx, mask=exists)
    tl.store(affines + 1, xy, mask=exists)
    tl.store(affines + 2, yx, mask=exists)
    tl.store(affines + 3, yy, mask=exists)
    tl.store(affines + 4, x, mask=exists)
    tl.store(affines + 5, y, mask=exists)


@triton.jit
def with_stillness(motion, stillness, is_background):
    """The lanes' motions, with another in those of the background."""
    xx, xy, yx, yy, x, y = motion
    sxx, sxy, syx, syy, ox, oy = stillness
    return (
        tl.where(is_background, sxx, xx), tl.where(is_background, sxy, xy),
        tl.where(is_background, syx, yx), tl.where(is_background, syy, yy),
        tl.where(is_background, ox, x), tl.where(is_background, oy, y),
    )  # fmt: skip


@triton.jit
def store_anchor_gradient(kp_source, kp_driving, jac_source, jac_driving, place, gradient, exists):
    """The gradients of `affine_vjp`, to contiguous tensors, for the anchors at these places of all in a row."""
    sx, sy, dx, dy, jxx, jxy, jyx, jyy, dxx, dxy, dyx, dyy = gradient
    tl.store(kp_source + place * 2, sx, mask=exists)
    tl.store(kp_source + place * 2 + 1, sy, mask=exists)
    tl.store(kp_driving + place * 2, dx, mask=exists)
    tl.store(kp_driving + place * 2 + 1, dy, mask=exists)
    if jac_source is not None:
        _store_matrix(jac_source + place * 4, jxx, jxy, jyx, jyy, exists)
        _store_matrix(jac_driving + place * 4, dxx, dxy, dyx, dyy, exists)


@triton.jit
def _store_matrix(at, xx, xy, yx, yy, exists):
    tl.store(at, xx, mask=exists)
    tl.store(at + 1, xy, mask=exists)
    tl.store(at + 2, yx, mask=exists)
    tl.store(at + 3, yy, mask=exists)
