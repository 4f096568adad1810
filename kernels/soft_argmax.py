"""Expectations under a heat map: with e = exp((l - m)/t), kp = sum e z / sum e and jac = sum e map / sum e.

Each block of pixels is summed with its own m, its largest logit; changing that to another m' multiplies its sums by
exp((m - m')/t). A program sums one block of pixels of one anchor; another program adds up an anchor's blocks in a fixed
order. Covariances, sum e (z - kp)(z - kp)^T / sum e, take a second pass over the logits, about the key point.

An image is a volume of one slice. AXES is 2 for images, where the slice is not a coordinate, and 3 for volumes.
"""

import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.launch import PIXELS, compute_type, grid, index_type
from internet.kernels.pixels import image_and_pixels, normalized
from internet.kernels.registry import operator
from internet.kernels.strided import at, strided
from internet.ops import fakes

SUMMED = 2048
"""Pixels that one program sums."""
COMBINED = 1024
"""How many blocks' sums are added up at a time."""


@triton.jit
def _heat_reference(largest):
    """The m to subtract, given the largest logit: that itself, or 0 if all are -inf (then e is 0, not NaN)."""
    return tl.where(largest == -float("inf"), 0.0, largest)


@triton.jit
def _slice_and_row(line, height, AXES: tl.constexpr):
    """Rows are counted through the slices."""
    if AXES == 2:
        slice, row = tl.zeros_like(line), line
    else:
        slice, row = line // height, line % height
    return slice, row


@triton.jit
def _coordinate(
    slice, row, column, depth, height, width, C: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr
):
    if C == 0:
        z = normalized(column, width, ALIGN_CORNERS, T)
    elif C == 1:
        z = normalized(row, height, ALIGN_CORNERS, T)
    else:
        z = normalized(slice, depth, ALIGN_CORNERS, T)
    return z


@triton.jit
def _sum_block(
    partials, logits, jacobian_map, anchors, depth, height, width, blocks, per_temperature: tl.float64,
    AXES: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stores the largest logit, and the sums of e, e z and e map."""
    plane, block, line, column, inside = image_and_pixels(depth * height, width, BLOCK, INDEX)
    image, anchor = plane // anchors, plane % anchors
    slice, row = _slice_and_row(line, height, AXES)
    logit = tl.load(at(logits, (image, anchor, slice, row, column)), mask=inside, other=-float("inf")).to(T)
    largest = tl.max(logit, 0)
    heat = tl.exp((logit - _heat_reference(largest)) * tl.full([1], per_temperature, T))
    to = partials + (plane * blocks + block) * (2 + AXES + AXES * AXES)
    tl.store(to, largest)
    tl.store(to + 1, tl.sum(heat, 0))
    for c in tl.static_range(AXES):
        z = _coordinate(slice, row, column, depth, height, width, c, ALIGN_CORNERS, T)
        tl.store(to + 2 + c, tl.sum(heat * z, 0))
    if jacobian_map is not None:
        for c in tl.static_range(AXES * AXES):
            entry = tl.load(at(jacobian_map, (image, anchor, c, slice, row, column)), mask=inside, other=0.0).to(T)
            tl.store(to + 2 + AXES + c, tl.sum(heat * entry, 0))


@triton.jit
def _sum_over_blocks(
    sums, blocks, of_all, per, T: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
    SUMS: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Sum number C of a plane's blocks, relative to the largest logit of all."""
    total = tl.zeros([], T)
    for first in range(0, BLOCKS, CHUNK):
        block = first + tl.arange(0, CHUNK)
        of_block, exists = sums + block * SUMS, block < blocks
        scale = tl.exp((tl.load(of_block, mask=exists, other=-float("inf")) - _heat_reference(of_all)) * per)
        total += tl.sum(scale * tl.load(of_block + C, mask=exists, other=0.0), 0)
    return total


@triton.jit
def _combine(
    kp, jac, statistics, partials, blocks, per_temperature: tl.float64,
    AXES: tl.constexpr, T: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One anchor's results from its blocks' sums, a chunk of blocks at a time."""
    SUMS: tl.constexpr = 2 + AXES + AXES * AXES
    plane = tl.program_id(0).to(tl.int64)
    sums = partials + plane * blocks * SUMS
    per = tl.full([1], per_temperature, T)
    # the maximum ignores NaN, but the sums do not, whatever m is
    of_all = tl.full([], -float("inf"), T)
    for first in range(0, BLOCKS, CHUNK):
        block = first + tl.arange(0, CHUNK)
        of_all = tl.maximum(of_all, tl.max(tl.load(sums + block * SUMS, mask=block < blocks, other=-float("inf")), 0))
    mass = _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, SUMS, 1)
    for c in tl.static_range(AXES):
        value = _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, SUMS, 2 + c) / mass
        tl.store(kp + plane * AXES + c, value)
    if jac is not None:
        for c in tl.static_range(AXES * AXES):
            value = _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, SUMS, 2 + AXES + c) / mass
            tl.store(jac + plane * (AXES * AXES) + c, value)
    tl.store(statistics + plane * 2, of_all)
    tl.store(statistics + plane * 2 + 1, mass)


@triton.jit
def _sum_moments(
    partials, logits, kp, statistics, anchors, depth, height, width, blocks, per_temperature: tl.float64,
    AXES: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The sums of e (z - kp)(z - kp)^T over a block: the upper triangle, row after row."""
    plane, block, line, column, inside = image_and_pixels(depth * height, width, BLOCK, INDEX)
    image, anchor = plane // anchors, plane % anchors
    slice, row = _slice_and_row(line, height, AXES)
    logit = tl.load(at(logits, (image, anchor, slice, row, column)), mask=inside, other=-float("inf")).to(T)
    reference = _heat_reference(tl.load(statistics + plane * 2))
    heat = tl.exp((logit - reference) * tl.full([1], per_temperature, T))
    to = partials + (plane * blocks + block) * (AXES * (AXES + 1) // 2)
    for i in tl.static_range(AXES):
        z = _coordinate(slice, row, column, depth, height, width, i, ALIGN_CORNERS, T)
        weighted = heat * (z - tl.load(kp + plane * AXES + i))
        for j in tl.static_range(i, AXES):
            other = _coordinate(slice, row, column, depth, height, width, j, ALIGN_CORNERS, T)
            tl.store(to, tl.sum(weighted * (other - tl.load(kp + plane * AXES + j)), 0))
            to += 1


@triton.jit
def _combine_moments(
    covariance, partials, statistics, blocks,
    AXES: tl.constexpr, T: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One anchor's covariance from its blocks' moments."""
    MOMENTS: tl.constexpr = AXES * (AXES + 1) // 2
    plane = tl.program_id(0).to(tl.int64)
    mass = tl.load(statistics + plane * 2 + 1)
    sums = partials + plane * blocks * MOMENTS
    to = covariance + plane * (AXES * AXES)
    for i in tl.static_range(AXES):
        for j in tl.static_range(i, AXES):
            total = tl.zeros([], T)
            for first in range(0, BLOCKS, CHUNK):
                block = first + tl.arange(0, CHUNK)
                total += tl.sum(tl.load(sums + block * MOMENTS, mask=block < blocks, other=0.0), 0)
            tl.store(to + i * AXES + j, total / mass)
            tl.store(to + j * AXES + i, total / mass)
            sums += 1


@triton.jit
def _incoming(gradient, at_, T: tl.constexpr):
    """One number of a gradient; 0 if the gradient is missing."""
    if gradient is not None:
        value = tl.load(gradient + at_).to(T)
    else:
        value = tl.zeros([], T)
    return value


@triton.jit
def _pull(
    kp, covariance, grad_kp, grad_covariance, plane, slice, row, column, depth, height, width,
    AXES: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """<g_kp, d> + <g_cov, d d^T - cov> with d = z - kp. Differences are taken first: under a narrow heat map they are
    small, and the products are not.
    """
    pull = tl.zeros(column.shape, T)
    for i in tl.static_range(AXES):
        d = _coordinate(slice, row, column, depth, height, width, i, ALIGN_CORNERS, T) - tl.load(kp + plane * AXES + i)
        pull += d * _incoming(grad_kp, plane * AXES + i, T)
        if grad_covariance is not None:
            for j in tl.static_range(AXES):
                z = _coordinate(slice, row, column, depth, height, width, j, ALIGN_CORNERS, T)
                entry = plane * (AXES * AXES) + i * AXES + j
                product = d * (z - tl.load(kp + plane * AXES + j))
                pull += (product - tl.load(covariance + entry)) * tl.load(grad_covariance + entry).to(T)
    return pull


@triton.jit
def _backward(
    grad_logits, grad_map, grad_kp, grad_jac, grad_covariance, kp, jac, covariance, statistics,
    logits, jacobian_map, depth, height, width, per_temperature: tl.float64,
    ANCHORS: tl.constexpr, SHARED: tl.constexpr, AXES: tl.constexpr, ENTRIES: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """With h = e / sum e: dl(z) = h (<g_kp, d> + <g_jac, map(z) - jac> + <g_cov, d d^T - cov>)/t, dmap(z) = h g_jac.

    ENTRIES is a power of two with room for a matrix. Arguments without strides are contiguous.
    """
    image, _block, line, column, inside = image_and_pixels(depth * height, width, BLOCK, INDEX)
    slice, row = _slice_and_row(line, height, AXES)
    per = tl.full([1], per_temperature, T)
    entries = tl.arange(0, ENTRIES)
    shared = tl.zeros([BLOCK, ENTRIES], T)
    for anchor in range(ANCHORS):
        k = tl.cast(anchor, INDEX)
        plane = image * ANCHORS + k
        reference = _heat_reference(tl.load(statistics + plane * 2))
        mass = tl.load(statistics + plane * 2 + 1)
        logit = tl.load(at(logits, (image, k, slice, row, column)), mask=inside, other=0.0).to(T)
        heat = tl.exp((logit - reference) * per) / mass
        pull = _pull(
            kp, covariance, grad_kp, grad_covariance, plane, slice, row, column, depth, height, width,
            AXES, ALIGN_CORNERS, T,
        )  # fmt: skip
        if jacobian_map is not None:
            for c in tl.static_range(AXES * AXES):
                entry = tl.load(at(jacobian_map, (image, k, c, slice, row, column)), mask=inside, other=0.0).to(T)
                matrix = plane * (AXES * AXES) + c
                pull += (entry - tl.load(jac + matrix)) * _incoming(grad_jac, matrix, T)
            if grad_map is not None:
                if SHARED:
                    exists = entries < AXES * AXES
                    if grad_jac is not None:
                        incoming = tl.load(grad_jac + plane * (AXES * AXES) + entries, mask=exists, other=0.0).to(T)
                        shared += heat[:, None] * incoming[None, :]
                else:
                    for c in tl.static_range(AXES * AXES):
                        to = at(grad_map, (image, k, c, slice, row, column))
                        tl.store(to, heat * _incoming(grad_jac, plane * (AXES * AXES) + c, T), mask=inside)
        if grad_logits is not None:
            tl.store(at(grad_logits, (image, k, slice, row, column)), heat * pull * per, mask=inside)
    if grad_map is not None:
        if SHARED:
            to = at(grad_map, (image, 0, 0, slice, row, column))[:, None] + entries[None, :] * grad_map.strides[2]
            tl.store(to, shared, mask=inside[:, None] & (entries[None, :] < AXES * AXES))


def _as_volumes(images: Tensor | None, before: int) -> Tensor | None:
    """Images as volumes of one slice: `before` axes come before those of the pixels."""
    return images.unsqueeze(before) if images is not None and images.dim() == before + 2 else images


def _maps_of(jacobian_map: Tensor | None, anchors: int) -> Tensor | None:
    """The maps of every anchor, as volumes; the anchors may share one."""
    maps = _as_volumes(jacobian_map, 3)
    return None if maps is None else maps.expand(-1, anchors, *maps.shape[2:])


@operator
def soft_argmax(
    logits: Tensor, jacobian_map: Tensor | None, temperature: float, covariance: bool, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    results: tuple[Tensor, ...] = fakes.by_name["soft_argmax"](
        logits, jacobian_map, temperature, covariance, align_corners
    )
    kp, jac, cov, statistics = results
    axes, per = logits.dim() - 2, 1 / temperature
    volumes, maps = _as_volumes(logits, 2), _maps_of(jacobian_map, logits.shape[1])
    assert volumes is not None
    batch, anchors, *size = volumes.shape
    planes, pixels = batch * anchors, size[0] * size[1] * size[2]
    if not planes:
        return kp, jac, cov, statistics
    block = min(SUMMED, triton.next_power_of_2(pixels))
    blocks = triton.cdiv(pixels, block)
    many = {"BLOCKS": triton.next_power_of_2(blocks), "CHUNK": min(COMBINED, triton.next_power_of_2(blocks))}
    where = {"AXES": axes, "ALIGN_CORNERS": align_corners, "T": compute_type(logits), "BLOCK": block}
    partials = kp.new_empty(planes, blocks, 2 + axes + axes**2)
    _sum_block[grid(planes, pixels, block)](
        partials, strided(volumes), strided(maps), anchors, *size, blocks, per,
        **where, INDEX=index_type(volumes, maps),
    )  # fmt: skip
    has_jac = None if jacobian_map is None else jac
    _combine[(planes,)](kp, has_jac, statistics, partials, blocks, per, AXES=axes, T=where["T"], **many)
    if covariance:
        moments = kp.new_empty(planes, blocks, axes * (axes + 1) // 2)
        _sum_moments[grid(planes, pixels, block)](
            moments, strided(volumes), kp, statistics, anchors, *size, blocks, per,
            **where, INDEX=index_type(volumes),
        )  # fmt: skip
        _combine_moments[(planes,)](cov, moments, statistics, blocks, AXES=axes, T=where["T"], **many)
    return kp, jac, cov, statistics


@operator
def soft_argmax_backward(
    grad_kp: Tensor | None,
    grad_jac: Tensor | None,
    grad_covariance: Tensor | None,
    logits: Tensor,
    jacobian_map: Tensor | None,
    kp: Tensor,
    jac: Tensor,
    covariance: Tensor,
    statistics: Tensor,
    temperature: float,
    align_corners: bool,
    need_logits: bool,
    need_map: bool,
) -> tuple[Tensor, Tensor]:
    incoming = (grad_kp, grad_jac, grad_covariance)
    tensors = (logits, jacobian_map, kp, jac, covariance, statistics)
    gradients: tuple[Tensor, Tensor] = fakes.by_name["soft_argmax_backward"](
        *incoming, *tensors, temperature, align_corners, need_logits, need_map
    )
    grad_logits = _as_volumes(gradients[0], 2) if need_logits else None
    grad_map = _as_volumes(gradients[1], 3) if need_map and jacobian_map is not None else None
    volumes, maps = _as_volumes(logits, 2), _maps_of(jacobian_map, logits.shape[1])
    assert volumes is not None
    batch, anchors, *size = volumes.shape
    axes = logits.dim() - 2
    small = [None if t is None else t.contiguous() for t in (*incoming, kp, jac, covariance, statistics)]
    if batch * anchors:
        _backward[grid(batch, size[0] * size[1] * size[2], PIXELS)](
            strided(grad_logits), strided(grad_map), *small, strided(volumes), strided(maps), *size, 1 / temperature,
            ANCHORS=anchors, SHARED=jacobian_map is not None and jacobian_map.shape[1] == 1,
            AXES=axes, ENTRIES=triton.next_power_of_2(axes**2), ALIGN_CORNERS=align_corners, T=compute_type(logits),
            INDEX=index_type(volumes, maps, grad_logits, grad_map), BLOCK=PIXELS,
        )  # fmt: skip
    elif grad_map is not None:
        grad_map.zero_()  # one map shared by zero anchors
    return gradients
