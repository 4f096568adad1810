"""From anchors to the maps that `anchor_features` reads, and from the sums of its gradients back to the anchors.

The motion of an anchor is affine in normalised coordinates, and these are affine in pixel indices, possibly by one
convention for the output and another for the source. So it is affine from output pixel to source pixel, and sums of
gradients times pixel indices are converted to the gradient of the anchor only at the very end. A background's motion is
projective: it has one more row, the denominator.

Each lane of a block computes one anchor, in float64, as in kernels/anchors.py.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.geometry import SMALLEST_COVARIANCE_DETERMINANT
from internet.kernels import anchors, bilinear
from internet.kernels.affine_mixture import ANCHORS_PER_PROGRAM
from internet.kernels.anchors import Anchors, anchor_arguments
from internet.kernels.launch import grid
from internet.kernels.pixels import normalized_start, normalized_step
from internet.kernels.strided import Strided, at, strided

SMALLEST_DETERMINANT = tl.constexpr(SMALLEST_COVARIANCE_DETERMINANT)


class Points(NamedTuple):
    """The tensors of the anchors of each image, in the order of the operator; or their gradients."""

    kp_source: Tensor
    kp_driving: Tensor
    jac_source: Tensor | None
    jac_driving: Tensor | None
    background: Tensor | None
    covariance_source: Tensor | None
    covariance_driving: Tensor | None


class PointArguments(NamedTuple):
    """The same tensors as one argument of a kernel."""

    anchors: Anchors
    covariance_source: Strided | None
    covariance_driving: Strided | None


class Maps(NamedTuple):
    """The anchors as each pixel reads them, as one argument of a kernel."""

    kp_source: Strided
    kp_driving: Strided
    affines: Tensor
    """(B, K+1, n(n+1)), in pixels."""
    backgrounds: Tensor | None
    """(B, (n+1)(n+1)), in pixels: replaces the first of the affine maps."""
    exponents: Tensor | None
    """For Gaussians with a covariance, (B, K, 2, n(n+1)/2), the driving one first."""

    @property
    def dtype(self) -> torch.dtype:
        """Kernels are tuned for each dtype: `triton.autotune` looks for this attribute."""
        return self.kp_source.dtype


class Conventions(NamedTuple):
    """`align_corners` for the source, and for the grid of the output."""

    source: bool
    grid: bool


@triton.jit
def _pixel_axes(size, ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr):
    """For each axis: output pixel j lies at z = start + step j, and z is the source's pixel t = scale z + offset."""
    axes = ()
    for axis in tl.static_range(len(size)):
        start = normalized_start(size[axis], GRID_ALIGN_CORNERS, tl.float64)
        step = normalized_step(size[axis], GRID_ALIGN_CORNERS, tl.float64)
        scale = bilinear.pixels_per_unit(size[axis], ALIGN_CORNERS, tl.float64)
        axes += ((start, step, scale, (tl.cast(size[axis], tl.float64) - 1) * 0.5),)
    return axes


@triton.jit
def _row_in_output_pixels(motion, axes, row: tl.constexpr, ROWS: tl.constexpr):
    """One row of a normalised map, and its offset, as a function of output pixels."""
    N: tl.constexpr = len(axes)
    offset = motion[ROWS * N + row]
    numbers = ()
    for j in tl.static_range(N):
        offset += motion[row * N + j] * axes[j][0]
        numbers += (motion[row * N + j] * axes[j][1],)
    numbers += (offset,)
    return numbers


@triton.jit
def pixel_motion(motion, axes, ROWS: tl.constexpr):
    """A normalised map as one from output pixels to source pixels. For a projective one, the offset is added to the
    rows as a multiple of the last row, the denominator."""
    N: tl.constexpr = len(axes)
    matrix = ()
    offsets = ()
    denominator = _row_in_output_pixels(motion, axes, ROWS - 1, ROWS)
    for i in tl.static_range(N):
        row = _row_in_output_pixels(motion, axes, i, ROWS)
        _start, _step, scale, offset = axes[i]
        for j in tl.static_range(N):
            matrix += (scale * row[j] + (offset * denominator[j] if ROWS > N else 0.0),)
        offsets += (scale * row[N] + (offset * denominator[N] if ROWS > N else offset),)
    if ROWS > N:
        for j in tl.static_range(N):
            matrix += (denominator[j],)
        offsets += (denominator[N],)
    return matrix + offsets


@triton.jit
def _row_gradient(gradient, axes, row: tl.constexpr, column: tl.constexpr, ROWS: tl.constexpr):
    """The adjoint of `_row_in_output_pixels`, for one column; the offset is the last."""
    N: tl.constexpr = len(axes)
    first: tl.constexpr = column if column < N else ROWS * N
    step: tl.constexpr = N if column < N else 1
    value = gradient[first + row * step]
    if row < N:
        value *= axes[row][2]
    else:
        for i in tl.static_range(N):
            value += axes[i][3] * gradient[first + i * step]
    return value


@triton.jit
def pixel_motion_vjp(gradient, axes, ROWS: tl.constexpr):
    """From the gradient of the map in pixels to the gradient of the normalised map."""
    N: tl.constexpr = len(axes)
    matrix = ()
    offsets = ()
    for i in tl.static_range(ROWS):
        of_offset = _row_gradient(gradient, axes, i, N, ROWS)
        for j in tl.static_range(N):
            of_entry = _row_gradient(gradient, axes, i, j, ROWS)
            matrix += (axes[j][1] * of_entry + axes[j][0] * of_offset,)
        offsets += (of_offset,)
    return matrix + offsets


@triton.jit
def _load_background(background, image, exists, N: tl.constexpr):
    matrix = ()
    offsets = ()
    for i in tl.static_range(N + 1):
        numbers = anchors.load_numbers(at(background, (image, i)), background.strides[2], exists, N + 1)
        for j in tl.static_range(N):
            matrix += (numbers[j],)
        offsets += (numbers[N],)
    return matrix + offsets


@triton.jit
def _covariance_determinant(covariance, N: tl.constexpr):
    """At least 1e-30, so that a collapsed covariance gives a finite heat map. NaN stays NaN."""
    det = anchors.determinant(covariance, N)
    return tl.where(det < SMALLEST_DETERMINANT, tl.full(det.shape, SMALLEST_DETERMINANT, tl.float64), det)


@triton.jit
def _exponents(covariance, N: tl.constexpr):
    """E = -1/2 d^T C^-1 d: the coefficients of the products of two distances, in the order of `exponent_at`."""
    precision = anchors.inverse(covariance, _covariance_determinant(covariance, N), N)
    numbers = ()
    for i in tl.static_range(N):
        numbers += (-0.5 * precision[i * N + i],)
        for j in tl.static_range(i + 1, N):
            numbers += (-0.5 * (precision[i * N + j] + precision[j * N + i]),)
    return numbers


@triton.jit
def _make_maps(
    maps, points, count, motions, size,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The background's affine map is exactly the identity if the conventions are the same."""
    N: tl.constexpr = len(size)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // motions, place % motions
    exists = place < count
    is_anchor = exists & (k > 0)
    axes = _pixel_axes(size, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    normalized = anchors.affine(anchors.load_anchor(points.anchors, image, k - 1, is_anchor, N), N)
    stillness = anchors.still_map(normalized[0], N)
    if ALIGN_CORNERS != GRID_ALIGN_CORNERS:
        stillness = pixel_motion(stillness, axes, N)
    motion = anchors.with_stillness(pixel_motion(normalized, axes, N), stillness, k == 0)
    anchors.store_numbers(maps.affines + place * (N * N + N), motion, exists)
    if maps.backgrounds is not None:
        is_background = exists & (k == 0)
        background = pixel_motion(_load_background(points.anchors.background, image, is_background, N), axes, N + 1)
        anchors.store_numbers(maps.backgrounds + image * ((N + 1) * (N + 1)), background, is_background)
    if maps.exponents is not None:
        pairs: tl.constexpr = N * (N + 1) // 2
        to = maps.exponents + (place - image - 1) * (2 * pairs)
        driving = anchors.load_matrix(points.covariance_driving, image, k - 1, is_anchor, N)
        anchors.store_numbers(to, _exponents(driving, N), is_anchor)
        source = anchors.load_matrix(points.covariance_source, image, k - 1, is_anchor, N)
        anchors.store_numbers(to + pairs, _exponents(source, N), is_anchor)


@triton.jit
def _of_pair(numbers, i: tl.constexpr, j: tl.constexpr, N: tl.constexpr):
    """The entry of axes i and j, from those of all pairs: (0, 0), (0, 1), ..., (1, 1), ..."""
    low: tl.constexpr = i if i < j else j
    high: tl.constexpr = j if i < j else i
    return numbers[low * N - low * (low - 1) // 2 + high - low]


@triton.jit
def _point_gradient(grad_point, exponents, first, per_variance, N: tl.constexpr):
    """Adds the gradient that a key point receives through a Gaussian; its `exponents` are None for a single variance.

    Where it does not depend on a coordinate, nothing is added, not even 0 times an infinite coordinate.
    """
    total = ()
    for i in tl.static_range(N):
        of_axis = grad_point[i]
        if exponents is not None:
            for j in tl.static_range(N):
                coefficient = _of_pair(exponents, i, j, N) * (2 if i == j else 1)
                of_axis -= tl.where(coefficient == 0, 0.0, coefficient * first[j])
        else:
            of_axis += per_variance * first[i]
        total += (of_axis,)
    return total


@triton.jit
def _covariance_gradient(covariance, second, N: tl.constexpr):
    """From the second moments. The two entries of the precision in a pair's exponent get -1/2 of its gradient each."""
    grad_precision = ()
    for i in tl.static_range(N):
        for j in tl.static_range(N):
            grad_precision += (-0.5 * _of_pair(second, i, j, N),)
    return anchors.inverse_vjp(covariance, _covariance_determinant(covariance, N), grad_precision, N)


@triton.jit
def _gaussian_gradients(
    grad_covariance, grad_point, covariance, image, k, place, exists, moments, per_variance, N: tl.constexpr
):
    """Gradients of one Gaussian from its sums: stores the covariance's, if there is one; returns the key point's."""
    if covariance is not None:
        matrix = anchors.load_matrix(covariance, image, k, exists, N)
        first = anchors.load_numbers(moments, 1, exists, N)
        second = anchors.load_numbers(moments + N, 1, exists, N * (N + 1) // 2)
        anchors.store_numbers(grad_covariance + place * (N * N), _covariance_gradient(matrix, second, N), exists)
        total = _point_gradient(grad_point, _exponents(matrix, N), first, per_variance, N)
    else:
        total = _point_gradient(grad_point, None, anchors.load_numbers(moments, 1, exists, N), per_variance, N)
    return total


@triton.jit
def _anchor_gradients(
    gradients, sums, points, count, anchors_per_image, size, per_variance: tl.float64, SUMS: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the sums (B, K+1, SUMS) of the map, then of the driving Gaussian, then of the source's."""
    N: tl.constexpr = len(size)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // anchors_per_image, place % anchors_per_image
    exists = place < count
    axes = _pixel_axes(size, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    from_sums = sums + (place + image + 1) * SUMS
    grad_motion = pixel_motion_vjp(anchors.load_numbers(from_sums, 1, exists, N * N + N), axes, N)
    anchor = anchors.load_anchor(points.anchors, image, k, exists, N)
    source, driving, jac_source, jac_driving = anchors.affine_vjp(anchor, grad_motion, N)
    moments = from_sums + N * N + N
    driving = _gaussian_gradients(
        gradients.covariance_driving, driving, points.covariance_driving, image, k, place, exists, moments,
        per_variance, N,
    )  # fmt: skip
    source = _gaussian_gradients(
        gradients.covariance_source, source, points.covariance_source, image, k, place, exists,
        moments + (SUMS - N * N - N) // 2, per_variance, N,
    )  # fmt: skip
    anchors.store_anchor_gradient(
        gradients.kp_source, gradients.kp_driving, gradients.jac_source, gradients.jac_driving, place,
        (source, driving, jac_source, jac_driving), exists, N,
    )  # fmt: skip


@triton.jit
def _background_gradients(
    gradient, sums, images, motions, size, SUMS: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr, GRID_ALIGN_CORNERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stores (B, n+1, n+1), contiguous, from the first of each image's sums; one lane for each image."""
    N: tl.constexpr = len(size)
    image = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = image < images
    axes = _pixel_axes(size, ALIGN_CORNERS, GRID_ALIGN_CORNERS)
    grad_pixels = anchors.load_numbers(sums + image * motions * SUMS, 1, exists, (N + 1) * (N + 1))
    numbers = pixel_motion_vjp(grad_pixels, axes, N + 1)
    for i in tl.static_range(N + 1):
        row = gradient + (image * (N + 1) + i) * (N + 1)
        for j in tl.static_range(N):
            tl.store(row + j, numbers[i * N + j], mask=exists)
        tl.store(row + N, numbers[(N + 1) * N + i], mask=exists)


def _arguments(points: Points) -> PointArguments:
    return PointArguments(
        anchor_arguments(*points[:5]), strided(points.covariance_source), strided(points.covariance_driving)
    )


def make_maps(points: Points, size: tuple[int, ...], aligned: Conventions) -> Maps:
    """The maps for images of this size, x first."""
    batch, count, axes = points.kp_source.shape
    empty, total = points.kp_source.new_empty, batch * (count + 1)
    arguments = _arguments(points)
    maps = Maps(
        arguments.anchors.kp_source,
        arguments.anchors.kp_driving,
        empty(batch, count + 1, axes * (axes + 1)),
        None if points.background is None else empty(batch, (axes + 1) ** 2),
        None if points.covariance_source is None else empty(batch, count, 2, axes * (axes + 1) // 2),
    )
    _make_maps[grid(1, total, ANCHORS_PER_PROGRAM)](
        maps, arguments, total, count + 1, size,
        ALIGN_CORNERS=aligned.source, GRID_ALIGN_CORNERS=aligned.grid, BLOCK=ANCHORS_PER_PROGRAM,
    )  # fmt: skip
    return maps


def sums_of_a_motion(points: Points) -> int:
    """How many sums `fill_gradients` needs for an anchor."""
    axes = points.kp_source.shape[2]
    moments = axes if points.covariance_source is None else axes + axes * (axes + 1) // 2
    return axes * (axes + 1) + 2 * moments


def fill_gradients(
    gradients: Points, sums: Tensor, points: Points, size: tuple[int, ...], aligned: Conventions, variance: float
) -> None:
    """From the sums over the pixels (B, K+1, sums_of_a_motion), which are described at the backward kernel."""
    batch, motions, count = sums.shape
    words = {
        "SUMS": count,
        "ALIGN_CORNERS": aligned.source,
        "GRID_ALIGN_CORNERS": aligned.grid,
        "BLOCK": ANCHORS_PER_PROGRAM,
    }
    total = batch * (motions - 1)
    if total:
        _anchor_gradients[grid(1, total, ANCHORS_PER_PROGRAM)](
            gradients, sums, _arguments(points), total, motions - 1, size, 1 / variance, **words
        )
    if gradients.background is not None:
        _background_gradients[grid(1, batch, ANCHORS_PER_PROGRAM)](
            gradients.background, sums, batch, motions, size, **words
        )
