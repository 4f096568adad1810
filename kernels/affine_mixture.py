"""Eq. 5: e_k = exp(l_k - max l), s = sum e, u_k = max(e_k - t s, 0), F = sum u_k T_k(z) / sum u_k.

A program computes a block of pixels for all anchors at once, a tile (anchors, pixels): the logits are read once.
An image is a volume of one slice. N is 2 for images, where the slice is not a coordinate, and 3 for volumes.
"""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels import anchors
from internet.kernels.anchors import Anchors, anchor_arguments
from internet.kernels.launch import compute_type, grid, index_type
from internet.kernels.pixels import coordinates, image_and_pixels
from internet.kernels.registry import operator
from internet.kernels.strided import at, strided
from internet.ops.results import dense_like, empty, like_or_empty, motion_dtype

ANCHORS_PER_PROGRAM = 64
FORWARD_TILE, BACKWARD_TILE = 2048, 1024
"""Anchors, rounded up to a power of two, times pixels of a program: as many as fit into registers."""


@triton.jit
def _affines(affines, points, count, motions, N: tl.constexpr, BLOCK: tl.constexpr):
    """The affine maps (B, K+1, n n + n): first the identity, then those of the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // motions, place % motions
    exists = place < count
    motion = anchors.affine(anchors.load_anchor(points, image, k - 1, exists & (k > 0), N), N)
    motion = anchors.with_stillness(motion, anchors.still_map(motion[0], N), k == 0)
    anchors.store_numbers(affines + place * (N * N + N), motion, exists)


@triton.jit
def _anchor_gradients(
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, grad_affines, points,
    count, anchors_per_image, N: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the gradients of the affine maps (B, K+1, n n + n) to the gradients of the anchors."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image, k = place // anchors_per_image, place % anchors_per_image
    exists = place < count
    anchor = anchors.load_anchor(points, image, k, exists, N)
    grad_affine = anchors.load_numbers(grad_affines + (place + image + 1) * (N * N + N), 1, exists, N * N + N)
    gradient = anchors.affine_vjp(anchor, grad_affine, N)
    anchors.store_anchor_gradient(
        grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, place, gradient, exists, N
    )


@triton.jit
def _weights(logits, threshold, T: tl.constexpr, THRESHOLDED: tl.constexpr):
    """e_k (anchors, pixels), u_k, s and sum u. Lanes past the last anchor must have logits of -inf."""
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
def _tile_of_logits(logits, image, slice, row, column, inside, k, motions, T: tl.constexpr):
    """Logits (anchors, pixels), -inf past the last anchor."""
    tile = (k < motions)[:, None] & inside[None, :]
    pointers = at(logits, (image, k[:, None], slice[None, :], row[None, :], column[None, :]))
    return tl.load(pointers, mask=tile, other=-float("inf")).to(T)


@triton.jit
def _still(background, image, z, N: tl.constexpr):
    """T_0(z), one block for each coordinate."""
    if background is not None:
        still = anchors.from_homogeneous(anchors.homogeneous(background, image, z, N), N)
    else:
        still = z
    return still


@triton.jit
def _moved(affines, background, image, k, motions, z, N: tl.constexpr):
    """T_k(z), one tile (anchors, pixels) for each coordinate."""
    pointers = affines + (image * motions + k) * (N * N + N)
    exists = k < motions
    moved = ()
    for i in tl.static_range(N):
        to = tl.load(pointers + N * N + i, mask=exists, other=0.0)[:, None]
        for j in tl.static_range(N):
            # x last, as in csrc/math
            to = tl.load(pointers + i * N + N - 1 - j, mask=exists, other=0.0)[:, None] * z[N - 1 - j][None, :] + to
        if background is not None:
            to = tl.where((k == 0)[:, None], _still(background, image, z, N)[i][None, :], to)
        moved += (to,)
    return moved


@triton.jit
def _forward(
    field, affines, background, logits, depth, height, width, motions, threshold: tl.float64,
    N: tl.constexpr, THRESHOLDED: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    MOTIONS: tl.constexpr, BLOCK: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    image, _block, line, column, inside = image_and_pixels(depth * height, width, BLOCK, INDEX)
    slice, row = line // height, line % height
    z = coordinates(slice, row, column, depth, height, width, N, ALIGN_CORNERS, T)
    k = tl.arange(0, MOTIONS).to(INDEX)
    logit = _tile_of_logits(logits, image, slice, row, column, inside, k, motions, T)
    _exponential, weight, _total, kept = _weights(logit, threshold, T, THRESHOLDED)
    moved = _moved(affines, background, image, k, motions, z, N)
    pixel = ((image * depth * height + line) * width + column) * N
    for i in tl.static_range(N):
        tl.store(field + pixel + i, tl.sum(weight * moved[i], 0) / kept, mask=inside)


@triton.jit
def _background_sums(background_partials, background, image, z, grad, share, inside, N: tl.constexpr):
    """This block's gradient of the background's matrix, row by row; `share` is the weight of its motion."""
    h = anchors.homogeneous(background, image, z, N)
    pull = ()
    for i in tl.static_range(N):
        pull += (share * grad[i],)
    grad_h = anchors.from_homogeneous_vjp(h, pull, N)
    for i in tl.static_range(N + 1):
        of_row = tl.where(inside, grad_h[i], 0.0)
        for j in tl.static_range(N):
            tl.store(background_partials + i * (N + 1) + j, tl.sum(of_row * z[j], 0))
        tl.store(background_partials + i * (N + 1) + N, tl.sum(of_row, 0))


@triton.jit
def _backward(
    grad_logits, partials, background_partials, affines, background, grad, logits,
    depth, height, width, motions, blocks, threshold: tl.float64,
    N: tl.constexpr, THRESHOLDED: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    MOTIONS: tl.constexpr, BLOCK: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """With c_k = <g, T_k - F>: without threshold dL/dl_k = w_k c_k. With it, dL/dw_k = c_k s / sum u if w_k > t,
    else 0, and the softmax subtracts sum_j w_j dL/dw_j, which is t times the sum of these (the part of w_j above t
    cancels, because sum_j u_j c_j = 0). The gradient of T_k is g u_k / sum u, summed over this block in `partials`."""
    image, block, line, column, inside = image_and_pixels(depth * height, width, BLOCK, INDEX)
    slice, row = line // height, line % height
    z = coordinates(slice, row, column, depth, height, width, N, ALIGN_CORNERS, T)
    k = tl.arange(0, MOTIONS).to(INDEX)
    tile = (k < motions)[:, None] & inside[None, :]
    logit = _tile_of_logits(logits, image, slice, row, column, inside, k, motions, T)
    logit = tl.where(inside[None, :], logit, 0.0)
    exponential, weight, total, kept = _weights(logit, threshold, T, THRESHOLDED)
    moved = _moved(affines, background, image, k, motions, z, N)
    gradient = ()
    for i in tl.static_range(N):
        gradient += (tl.load(at(grad, (image, slice, row, column, i)), mask=inside, other=0.0).to(T),)
    share = weight / kept[None, :]
    if grad_logits is not None:
        centred = tl.zeros_like(weight)
        for i in tl.static_range(N):
            of_field = tl.sum(weight * moved[i], 0)[None, :] / kept[None, :]
            centred += gradient[i][None, :] * (moved[i] - of_field)
        if THRESHOLDED:
            grad_weight = tl.where(weight > 0, centred * (total / kept)[None, :], 0.0)
            grad_weight -= tl.sum(grad_weight, 0)[None, :] * tl.full([1, 1], threshold, T)
        else:
            grad_weight = centred
        to = at(grad_logits, (image, k[:, None], slice[None, :], row[None, :], column[None, :]))
        tl.store(to, exponential / total[None, :] * grad_weight, mask=tile)
    if partials is not None:
        share = tl.where(tile, share, 0.0)
        sums = ()
        offsets = ()
        for i in tl.static_range(N):
            pull = share * gradient[i][None, :]
            for j in tl.static_range(N):
                sums += (tl.sum(pull * z[j][None, :], 1),)
            offsets += (tl.sum(pull, 1),)
        of_block = image * blocks + block
        anchors.store_numbers(partials + (of_block * motions + k) * (N * N + N), sums + offsets, k < motions)
        if background is not None:
            to = background_partials + of_block * ((N + 1) * (N + 1))
            of_background = tl.sum(tl.where((k == 0)[:, None], share, 0.0), 0)
            _background_sums(to, background, image, z, gradient, of_background, inside, N)


def _tile(motions: int, elements: int) -> tuple[int, int]:
    """Anchors of a tile, and its pixels."""
    padded = triton.next_power_of_2(motions)
    return padded, max(16, elements // padded)


def _affine_maps(points: Anchors) -> Tensor:
    batch, count, axes = points.kp_source.data.shape
    affines = points.kp_source.data.new_empty(batch, count + 1, axes * axes + axes)
    total = batch * (count + 1)
    _affines[grid(1, total, ANCHORS_PER_PROGRAM)](affines, points, total, count + 1, N=axes, BLOCK=ANCHORS_PER_PROGRAM)
    return affines


def _as_volumes(data: Tensor, channels_axis: int) -> Tensor:
    """Images as volumes of one slice, which comes before the rows: the first axis behind batch and channels."""
    return data if data.dim() == 5 else data.unsqueeze(channels_axis)


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
    batch, motions, *size = logits.shape
    field = logits.new_empty(batch, *size, len(size), dtype=motion_dtype(logits.dtype))
    if not field.numel():
        return field
    points = anchor_arguments(kp_source, kp_driving, jac_source, jac_driving, background)
    volumes = _as_volumes(logits, 2)
    padded, block = _tile(motions, FORWARD_TILE)
    _forward[grid(batch, volumes[0, 0].numel(), block)](
        field, _affine_maps(points), points.background, strided(volumes), *volumes.shape[2:], motions, threshold,
        N=len(size), THRESHOLDED=threshold > 0, ALIGN_CORNERS=align_corners, MOTIONS=padded, BLOCK=block,
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
    batch, motions, *size = logits.shape
    axes, pixels = len(size), logits[0, 0].numel() if batch else 0
    points = anchor_arguments(kp_source, kp_driving, jac_source, jac_driving, background)
    given = (kp_source, kp_driving, jac_source, jac_driving, background)
    grad_logits = dense_like(logits) if need_logits else empty(logits)
    grad_points = [empty(kp_source) if p is None else like_or_empty(p, need_anchors) for p in given]
    padded, block = _tile(motions, BACKWARD_TILE)
    blocks = triton.cdiv(pixels, block)
    affines = _affine_maps(points)
    partials = affines.new_empty(batch, blocks, motions, axes * axes + axes) if need_anchors else None
    of_background = need_anchors and background is not None
    background_partials = affines.new_empty(batch, blocks, axes + 1, axes + 1) if of_background else None
    if batch * pixels:
        volumes = _as_volumes(logits, 2)
        _backward[grid(batch, pixels, block)](
            strided(_as_volumes(grad_logits, 2)) if need_logits else None, partials, background_partials,
            affines, points.background, strided(_as_volumes(grad_field, 1)), strided(volumes),
            *volumes.shape[2:], motions, blocks, threshold,
            N=axes, THRESHOLDED=threshold > 0, ALIGN_CORNERS=align_corners, MOTIONS=padded, BLOCK=block,
            T=compute_type(logits), INDEX=index_type(logits, grad_field, grad_logits, partials),
        )  # fmt: skip
    total = batch * (motions - 1)
    if partials is not None and total:
        has_jacobians = jac_source is not None
        _anchor_gradients[grid(1, total, ANCHORS_PER_PROGRAM)](
            *grad_points[:2], *(grad_points[2:4] if has_jacobians else (None, None)), partials.sum(1),
            points, total, motions - 1, N=axes, BLOCK=ANCHORS_PER_PROGRAM,
        )  # fmt: skip
    if background_partials is not None:
        grad_points[4] = background_partials.sum(1)
    grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, grad_background = grad_points
    return grad_logits, grad_kp_source, grad_kp_driving, grad_jac_source, grad_jac_driving, grad_background
