"""Eq. 5: e_k = exp(l_k - max l), s = sum e, u_k = max(e_k - t s, 0), F = sum u_k T_k(z) / sum u_k.

A program does a block of pixels with all anchors at once, a tile of (anchors, pixels): the logits are read once.
"""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import anchors
from internet.kernels.launch import compute_type, grid, index_type, strides
from internet.kernels.pixels import image_and_pixels, normalized
from internet.kernels.registry import operator
from internet.ops.results import dense_like, empty, like_or_empty, motion_dtype

ANCHORS_PER_PROGRAM = 64
FORWARD_TILE, BACKWARD_TILE = 2048, 1024
"""Anchors times pixels of a program, the anchors rounded up to a power of two; what registers have room for."""


@triton.jit
def _affines(
    affines,
    kp_source, source_image, source_anchor, source_axis,
    kp_driving, driving_image, driving_anchor, driving_axis,
    jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
    jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
    count, motions, BLOCK: tl.constexpr,
):  # fmt: skip
    """The affine maps (B, K+1, 6) of the background and the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // motions, place % motions
    exists = place < count
    anchor = anchors.load_anchor(
        kp_source, source_image, source_anchor, source_axis,
        kp_driving, driving_image, driving_anchor, driving_axis,
        jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
        jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
        image, k - 1, exists & (k > 0),
    )  # fmt: skip
    motion = anchors.with_stillness(anchors.affine(anchor), (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), k == 0)
    anchors.store_affine(affines + place * 6, motion, exists)


@triton.jit
def _anchor_gradients(
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, grad_affines,
    kp_source, source_image, source_anchor, source_axis,
    kp_driving, driving_image, driving_anchor, driving_axis,
    jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
    jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
    count, anchors_per_image, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the gradients of the affine maps (B, K+1, 6) to those of the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // anchors_per_image, place % anchors_per_image
    exists = place < count
    anchor = anchors.load_anchor(
        kp_source, source_image, source_anchor, source_axis,
        kp_driving, driving_image, driving_anchor, driving_axis,
        jac_source, jac_source_image, jac_source_anchor, jac_source_row, jac_source_column,
        jac_driving, jac_driving_image, jac_driving_anchor, jac_driving_row, jac_driving_column,
        image, k, exists,
    )  # fmt: skip
    grad_affine = anchors.load_affine(grad_affines + (place + image + 1) * 6, exists)
    gradient = anchors.affine_vjp(anchor, grad_affine)
    anchors.store_anchor_gradient(
        grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, place, gradient, exists
    )


@triton.jit
def _weights(logits, threshold, T: tl.constexpr, THRESHOLDED: tl.constexpr):
    """e_k (anchors, pixels), u_k, s and sum u; in lanes past the last anchor the logit is -inf."""
    exponential = tl.exp(logits - tl.max(logits, 0)[None, :])
    total = tl.sum(exponential, 0)
    if THRESHOLDED:
        above = exponential - total[None, :] * tl.full([1, 1], threshold, T)
        kept_weight = tl.where(above > 0, above, 0.0)
        kept = tl.sum(kept_weight, 0)
    else:
        kept_weight = exponential
        kept = total
    return exponential, kept_weight, total, kept


@triton.jit
def _moved(affines, k, exists, x, y):
    """T_k(z) of a tile (anchors, pixels): x and y."""
    xx = tl.load(affines + k * 6, mask=exists, other=0.0)[:, None]
    xy = tl.load(affines + k * 6 + 1, mask=exists, other=0.0)[:, None]
    yx = tl.load(affines + k * 6 + 2, mask=exists, other=0.0)[:, None]
    yy = tl.load(affines + k * 6 + 3, mask=exists, other=0.0)[:, None]
    offset_x = tl.load(affines + k * 6 + 4, mask=exists, other=0.0)[:, None]
    offset_y = tl.load(affines + k * 6 + 5, mask=exists, other=0.0)[:, None]
    return xx * x + (xy * y + offset_x), yx * x + (yy * y + offset_y)


@triton.jit
def _forward(
    field, affines,
    logits, logits_image, logits_anchor, logits_row, logits_column,
    height, width, motions, threshold: tl.float64,
    THRESHOLDED: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    MOTIONS: tl.constexpr, BLOCK: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x = normalized(column, width, ALIGN_CORNERS, T)[None, :]
    y = normalized(row, height, ALIGN_CORNERS, T)[None, :]
    k = tl.arange(0, MOTIONS)
    tile = (k < motions)[:, None] & inside[None, :]
    at = k.to(INDEX)[:, None] * logits_anchor + (row * logits_row + column * logits_column)[None, :]
    logit = tl.load(logits + image * logits_image + at, mask=tile, other=-float("inf")).to(T)
    _exponential, weight, _total, kept = _weights(logit, threshold, T, THRESHOLDED)
    moved_x, moved_y = _moved(affines + image * motions * 6, k, k < motions, x, y)
    pixel = ((image * height + row) * width + column) * 2
    tl.store(field + pixel, tl.sum(weight * moved_x, 0) / kept, mask=inside)
    tl.store(field + pixel + 1, tl.sum(weight * moved_y, 0) / kept, mask=inside)


@triton.jit
def _backward(
    grad_logits, grad_logits_image, grad_logits_anchor, grad_logits_row, grad_logits_column,
    partials, affines,
    grad, grad_image, grad_row, grad_column, grad_axis,
    logits, logits_image, logits_anchor, logits_row, logits_column,
    height, width, motions, blocks, threshold: tl.float64,
    THRESHOLDED: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    MOTIONS: tl.constexpr, BLOCK: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """With c_k = <g, T_k - F>: without threshold dL/dl_k = w_k c_k. With it, dL/dw_k = c_k s / sum u where w_k > t,
    else 0, and the softmax subtracts sum_j w_j dL/dw_j, which is t times the sum of those (the part of w_j above t
    cancels, because sum_j u_j c_j = 0). T_k receives g u_k / sum u, summed over this block into `partials`."""
    image, block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x = normalized(column, width, ALIGN_CORNERS, T)[None, :]
    y = normalized(row, height, ALIGN_CORNERS, T)[None, :]
    k = tl.arange(0, MOTIONS)
    tile = (k < motions)[:, None] & inside[None, :]
    at = k.to(INDEX)[:, None] * logits_anchor + (row * logits_row + column * logits_column)[None, :]
    logit = tl.load(logits + image * logits_image + at, mask=tile, other=-float("inf")).to(T)
    logit = tl.where(inside[None, :], logit, 0.0)
    exponential, weight, total, kept = _weights(logit, threshold, T, THRESHOLDED)
    moved_x, moved_y = _moved(affines + image * motions * 6, k, k < motions, x, y)
    from_grad = grad + image * grad_image + row * grad_row + column * grad_column
    grad_x = tl.load(from_grad, mask=inside, other=0.0).to(T)[None, :]
    grad_y = tl.load(from_grad + grad_axis, mask=inside, other=0.0).to(T)[None, :]
    share = weight / kept[None, :]
    if grad_logits is not None:
        field_x = tl.sum(weight * moved_x, 0)[None, :] / kept[None, :]
        field_y = tl.sum(weight * moved_y, 0)[None, :] / kept[None, :]
        centred = grad_x * (moved_x - field_x) + grad_y * (moved_y - field_y)
        if THRESHOLDED:
            grad_weight = tl.where(weight > 0, centred * (total / kept)[None, :], 0.0)
            grad_weight -= tl.sum(grad_weight, 0)[None, :] * tl.full([1, 1], threshold, T)
        else:
            grad_weight = centred
        gradient = exponential / total[None, :] * grad_weight
        to = k.to(INDEX)[:, None] * grad_logits_anchor + (row * grad_logits_row + column * grad_logits_column)[None, :]
        tl.store(grad_logits + image * grad_logits_image + to, gradient, mask=tile)
    if partials is not None:
        share = tl.where(tile, share, 0.0)
        pull_x, pull_y = share * grad_x, share * grad_y
        sums = (
            tl.sum(pull_x * x, 1), tl.sum(pull_x * y, 1), tl.sum(pull_y * x, 1), tl.sum(pull_y * y, 1),
            tl.sum(pull_x, 1), tl.sum(pull_y, 1),
        )  # fmt: skip
        anchors.store_affine(partials + ((image * blocks + block) * motions + k) * 6, sums, k < motions)


def anchor_arguments(*points: Tensor | None) -> tuple[Tensor | int | None, ...]:
    """Key points (and Jacobians), each followed by its strides."""
    axes = (3, 3, 4, 4)[: len(points)]
    return tuple(part for point, n in zip(points, axes, strict=True) for part in (point, *strides(point, n)))


def _tile(motions: int, elements: int) -> tuple[int, int]:
    """Anchors of a tile, and its pixels."""
    padded = triton.next_power_of_2(motions)
    return padded, max(16, elements // padded)


def _affine_maps(kp_source: Tensor, *others: Tensor | None) -> Tensor:
    batch, count, _ = kp_source.shape
    affines = kp_source.new_empty(batch, count + 1, 6)
    total = batch * (count + 1)
    arguments = anchor_arguments(kp_source, *others)
    _affines[grid(1, total, ANCHORS_PER_PROGRAM)](affines, *arguments, total, count + 1, BLOCK=ANCHORS_PER_PROGRAM)
    return affines


@operator
def affine_mixture(
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    threshold: float,
    align_corners: bool,
) -> Tensor:
    batch, motions, height, width = logits.shape
    field = logits.new_empty(batch, height, width, 2, dtype=motion_dtype(logits.dtype))
    if not field.numel():
        return field
    affines = _affine_maps(kp_source, kp_driving, jac_source, jac_driving)
    padded, block = _tile(motions, FORWARD_TILE)
    _forward[grid(batch, height * width, block)](
        field, affines, logits, *logits.stride(), height, width, motions, threshold,
        THRESHOLDED=threshold > 0, ALIGN_CORNERS=align_corners, MOTIONS=padded, BLOCK=block,
        T=compute_type(logits), INDEX=index_type(logits, field),
    )  # fmt: skip
    return field


@operator
def affine_mixture_backward(
    grad_field: Tensor,
    logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    jac_source: Tensor | None,
    jac_driving: Tensor | None,
    background: Tensor | None,
    threshold: float,
    align_corners: bool,
    need_logits: bool,
    need_anchors: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, motions, height, width = logits.shape
    points = (kp_source, kp_driving, jac_source, jac_driving)
    grad_logits = dense_like(logits) if need_logits else empty(logits)
    grad_points = [empty(kp_source) if p is None else like_or_empty(p, need_anchors) for p in points]
    padded, block = _tile(motions, BACKWARD_TILE)
    blocks = triton.cdiv(height * width, block)
    affines = _affine_maps(*points)
    partials = affines.new_empty(batch, blocks, motions, 6) if need_anchors else None
    if batch * height * width:
        _backward[grid(batch, height * width, block)](
            grad_logits if need_logits else None, *strides(grad_logits if need_logits else None, 4),
            partials, affines, grad_field, *grad_field.stride(), logits, *logits.stride(),
            height, width, motions, blocks, threshold,
            THRESHOLDED=threshold > 0, ALIGN_CORNERS=align_corners, MOTIONS=padded, BLOCK=block,
            T=compute_type(logits), INDEX=index_type(logits, grad_field, grad_logits, partials),
        )  # fmt: skip
    total = batch * (motions - 1)
    if partials is not None and total:
        has_jacobians = jac_source is not None
        _anchor_gradients[grid(1, total, ANCHORS_PER_PROGRAM)](
            *grad_points[:2], *(grad_points[2:] if has_jacobians else (None, None)), partials.sum(1),
            *anchor_arguments(*points), total, motions - 1, BLOCK=ANCHORS_PER_PROGRAM,
        )  # fmt: skip
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving = grad_points
    return grad_logits, grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, empty(kp_source)
