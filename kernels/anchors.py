"""Motions on n = 2 or 3 axes, x first: an anchor's, T(z) = kp_s + J_s J_d^-1 (z - kp_d), as an affine map M z + o, and
the background's, which is projective; with their gradients.

Each lane of a block computes one anchor, in float64 as in csrc/arguments/anchor_views.h: there are few of them, and
inverting a Jacobian needs the precision. Matrices are tuples of numbers, row by row; an affine map is one of n n + n:
M, then o.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.strided import Strided, at, strided

SMALLEST_DETERMINANT = tl.constexpr(1e-6)


class Anchors(NamedTuple):
    """The anchors of each image, and its background, as one argument of a kernel."""

    kp_source: Strided
    kp_driving: Strided
    jac_source: Strided | None
    jac_driving: Strided | None
    background: Strided | None

    @property
    def dtype(self) -> torch.dtype:
        """Kernels are tuned for each dtype: `triton.autotune` looks for this attribute."""
        return self.kp_source.dtype


def anchor_arguments(
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None = None,
    jac_driving: Tensor | None = None,
    background: Tensor | None = None,
) -> Anchors:
    matrices = (strided(jac_source), strided(jac_driving), strided(background))
    return Anchors(Strided(kp_source, kp_source.stride()), Strided(kp_driving, kp_driving.stride()), *matrices)


@triton.jit
def load_numbers(pointers, stride, exists, COUNT: tl.constexpr):
    """COUNT numbers at each of the pointers, in float64."""
    numbers = ()
    for i in tl.static_range(COUNT):
        numbers += (tl.load(pointers + i * stride, mask=exists, other=0.0).to(tl.float64),)
    return numbers


@triton.jit
def store_numbers(pointers, numbers, exists):
    """Stores numbers side by side."""
    for i in tl.static_range(len(numbers)):
        tl.store(pointers + i, numbers[i], mask=exists)


@triton.jit
def load_matrix(matrices, image, anchor, exists, N: tl.constexpr):
    """One matrix of (B, K, n, n), in float64."""
    numbers = ()
    for row in tl.static_range(N):
        pointers = at(matrices, (image, anchor, row))
        numbers += load_numbers(pointers, matrices.strides[3], exists, N)
    return numbers


@triton.jit
def load_anchor(anchors, image, anchor, exists, N: tl.constexpr):
    """Both key points and both Jacobians; missing Jacobians are identities."""
    image = image.to(tl.int64)
    source = load_numbers(at(anchors.kp_source, (image, anchor)), anchors.kp_source.strides[2], exists, N)
    driving = load_numbers(at(anchors.kp_driving, (image, anchor)), anchors.kp_driving.strides[2], exists, N)
    if anchors.jac_source is not None:
        jac_source = load_matrix(anchors.jac_source, image, anchor, exists, N)
        jac_driving = load_matrix(anchors.jac_driving, image, anchor, exists, N)
    else:
        jac_source = identity(source[0], N)
        jac_driving = jac_source
    return source, driving, jac_source, jac_driving


@triton.jit
def identity(like, N: tl.constexpr):
    """The identity matrix, in each lane of a block like this one."""
    numbers = ()
    for i in tl.static_range(N * N):
        numbers += (tl.full(like.shape, 1.0 if i % (N + 1) == 0 else 0.0, like.dtype),)
    return numbers


@triton.jit
def kept_determinant(det):
    """A determinant closer to zero than 1e-6 becomes ±1e-6, with its sign: a collapsed anchor has a finite motion."""
    smallest = tl.full(det.shape, SMALLEST_DETERMINANT, tl.float64)
    return tl.where(tl.abs(det) < smallest, tl.where(det < 0, -smallest, smallest), det)


@triton.jit
def _products_of_minors(a, b, row: tl.constexpr, column: tl.constexpr):
    """The mixed minor of two 3x3 matrices without this row and column, in cyclic order, which makes signs implicit."""
    low: tl.constexpr = (row + 1) % 3 * 3
    high: tl.constexpr = (row + 2) % 3 * 3
    left: tl.constexpr = (column + 1) % 3
    right: tl.constexpr = (column + 2) % 3
    return a[low + left] * b[high + right] - a[low + right] * b[high + left]


@triton.jit
def cofactors(m, N: tl.constexpr):
    if N == 2:
        numbers = (m[3], -m[2], -m[1], m[0])
    else:
        numbers = ()
        for i in tl.static_range(9):
            numbers += (_products_of_minors(m, m, i // 3, i % 3),)
    return numbers


@triton.jit
def cofactors_vjp(m, gradient, N: tl.constexpr):
    """The gradient with respect to m, from that of its cofactors: they are linear in a 2x2 matrix, and quadratic in a
    3x3 one, where <g, cofactors(m)> is symmetric in all three factors."""
    if N == 2:
        numbers = cofactors(gradient, N)
    else:
        numbers = ()
        for i in tl.static_range(9):
            one = _products_of_minors(m, gradient, i // 3, i % 3)
            other = _products_of_minors(gradient, m, i // 3, i % 3)
            numbers += (one + other,)
    return numbers


@triton.jit
def determinant(m, N: tl.constexpr):
    of_m = cofactors(m, N)
    det = m[0] * of_m[0]
    for j in tl.static_range(1, N):
        det += m[j] * of_m[j]
    return det


@triton.jit
def _transposed(m, N: tl.constexpr):
    numbers = ()
    for i in tl.static_range(N * N):
        numbers += (m[i % N * N + i // N],)
    return numbers


@triton.jit
def _product(a, b, N: tl.constexpr):
    numbers = ()
    for i in tl.static_range(N * N):
        value = a[i // N * N] * b[i % N]
        for k in tl.static_range(1, N):
            value += a[i // N * N + k] * b[k * N + i % N]
        numbers += (value,)
    return numbers


@triton.jit
def inverse(m, det, N: tl.constexpr):
    """The inverse, dividing by `det`, which may be the replaced determinant."""
    of_m = cofactors(m, N)
    numbers = ()
    for i in tl.static_range(N * N):
        numbers += (of_m[i % N * N + i // N] / det,)
    return numbers


@triton.jit
def inverse_vjp(m, det, gradient, N: tl.constexpr):
    """The gradient with respect to m, from g with respect to its inverse I = C^T / det: g_C = g^T / det and
    g_det = -<g, I> / det, which reaches m, through its cofactors, only if `det` is m's own determinant."""
    of_m = cofactors(m, N)
    along = gradient[0] * (of_m[0] / det)
    for i in tl.static_range(1, N * N):
        along += gradient[i] * (of_m[i % N * N + i // N] / det)
    grad_det = tl.where(det == determinant(m, N), -along / det, 0.0)
    from_cofactors = cofactors_vjp(m, _transposed(gradient, N), N)
    numbers = ()
    for i in tl.static_range(N * N):
        numbers += (from_cofactors[i] / det + grad_det * of_m[i],)
    return numbers


@triton.jit
def affine(anchor, N: tl.constexpr):
    """M and o of an anchor, as returned by `load_anchor`."""
    source, driving, jac_source, jac_driving = anchor
    det = kept_determinant(determinant(jac_driving, N))
    matrix = _product(jac_source, inverse(jac_driving, det, N), N)
    offset = ()
    for i in tl.static_range(N):
        moved = matrix[i * N] * driving[0]
        for j in tl.static_range(1, N):
            moved += matrix[i * N + j] * driving[j]
        offset += (source[i] - moved,)
    return matrix + offset


@triton.jit
def affine_vjp(anchor, gradient, N: tl.constexpr):
    """The gradients of both key points and both Jacobians of an anchor, from those of M and o.

    o = kp_s - M kp_d adds -g_o kp_d^T to g_M. With M = J_s I:  g_Js = g_M I^T,  g_I = J_s^T g_M.
    """
    _source, driving, jac_source, jac_driving = anchor
    matrix = affine(anchor, N)
    grad_source = ()
    grad_driving = ()
    grad_matrix = ()
    for i in tl.static_range(N):
        grad_source += (gradient[N * N + i],)
        moved = matrix[i] * gradient[N * N]
        for j in tl.static_range(1, N):
            moved += matrix[j * N + i] * gradient[N * N + j]
        grad_driving += (-moved,)
    for i in tl.static_range(N * N):
        grad_matrix += (gradient[i] - gradient[N * N + i // N] * driving[i % N],)
    det = kept_determinant(determinant(jac_driving, N))
    grad_jac_source = _product(grad_matrix, _transposed(inverse(jac_driving, det, N), N), N)
    grad_inverse = _product(_transposed(jac_source, N), grad_matrix, N)
    return grad_source, grad_driving, grad_jac_source, inverse_vjp(jac_driving, det, grad_inverse, N)


@triton.jit
def with_stillness(motion, stillness, is_background):
    """The motions, replaced by `stillness` in the lanes of the background."""
    numbers = ()
    for i in tl.static_range(len(motion)):
        numbers += (tl.where(is_background, stillness[i], motion[i]),)
    return numbers


@triton.jit
def still_map(like, N: tl.constexpr):
    """The identity as an affine map."""
    offset = ()
    for _ in tl.static_range(N):
        offset += (tl.zeros(like.shape, like.dtype),)
    return identity(like, N) + offset


@triton.jit
def store_anchor_gradient(kp_source, kp_driving, jac_source, jac_driving, place, gradient, exists, N: tl.constexpr):
    """Stores the gradients of `affine_vjp` in contiguous tensors, at these indices among the anchors of all images."""
    source, driving, of_source, of_driving = gradient
    store_numbers(kp_source + place * N, source, exists)
    store_numbers(kp_driving + place * N, driving, exists)
    if jac_source is not None:
        store_numbers(jac_source + place * (N * N), of_source, exists)
        store_numbers(jac_driving + place * (N * N), of_driving, exists)


@triton.jit
def homogeneous(background, image, z, N: tl.constexpr):
    """h = P (z, 1) of an image's background, a tuple of N + 1 blocks with the shape of those of z."""
    numbers = ()
    for i in tl.static_range(N + 1):
        row = at(background, (image, i))
        value = tl.load(row + N * background.strides[2])
        for j in tl.static_range(N):
            value = tl.load(row + j * background.strides[2]) * z[j] + value
        numbers += (value,)
    return numbers


@triton.jit
def from_homogeneous(h, N: tl.constexpr):
    """The motion h_1..n / h_n+1: not finite where the denominator vanishes."""
    numbers = ()
    for i in tl.static_range(N):
        numbers += (h[i] / h[N],)
    return numbers


@triton.jit
def from_homogeneous_vjp(h, gradient, N: tl.constexpr):
    """The gradient with respect to h, from that of the motion."""
    numbers = ()
    along = gradient[0] * h[0]
    for i in tl.static_range(1, N):
        along += gradient[i] * h[i]
    for i in tl.static_range(N):
        numbers += (gradient[i] / h[N],)
    numbers += (-along / (h[N] * h[N]),)
    return numbers
