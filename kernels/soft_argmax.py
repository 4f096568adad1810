"""Expectations under a heat map: with e = exp((l - m)/t), kp = sum e z / sum e and jac = sum e map / sum e.

A part of a plane is summed with an m of its own, its largest logit; moving it to another m' multiplies its sums by
exp((m - m')/t). A program sums one block of one plane, another program adds a plane's blocks up in one fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.launch import PIXELS, compute_type, grid, index_type, strides
from internet.kernels.pixels import image_and_pixels, normalized
from internet.kernels.registry import operator
from internet.ops import fakes
from internet.ops.results import empty, motion_dtype

SUMMED = 2048
"""Pixels that one program sums."""
COMBINED = 1024
"""Of those, how many are added up at a time."""
SUMS = tl.constexpr(8)
"""Numbers it leaves: the largest logit, and the sums of e, e x, e y and e map."""


@triton.jit
def _heat_reference(largest):
    """The m to subtract, given the largest logit: itself, or 0 where all are -inf (there e is 0, not NaN)."""
    return tl.where(largest == -float("inf"), 0.0, largest)


@triton.jit
def _map_entry(jacobian_map, entry_stride, C: tl.constexpr, mask, T: tl.constexpr, INDEX: tl.constexpr):
    return tl.load(jacobian_map + tl.cast(C, INDEX) * entry_stride, mask=mask, other=0.0).to(T)


@triton.jit
def _sum_block(
    partials,
    logits, logits_image, logits_anchor, logits_row, logits_column,
    jacobian_map, map_image, map_anchor, map_entry, map_row, map_column,
    anchors, height, width, blocks, per_temperature: tl.float64,
    ALIGN_CORNERS: tl.constexpr, T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    plane, block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    image, anchor = plane // anchors, plane % anchors
    at = logits + image * logits_image + anchor * logits_anchor + row * logits_row + column * logits_column
    logit = tl.load(at, mask=inside, other=-float("inf")).to(T)
    largest = tl.max(logit, 0)
    heat = tl.exp((logit - _heat_reference(largest)) * tl.full([1], per_temperature, T))
    to = partials + (plane * blocks + block) * SUMS
    tl.store(to, largest)
    tl.store(to + 1, tl.sum(heat, 0))
    tl.store(to + 2, tl.sum(heat * normalized(column, width, ALIGN_CORNERS, T), 0))
    tl.store(to + 3, tl.sum(heat * normalized(row, height, ALIGN_CORNERS, T), 0))
    if jacobian_map is not None:
        from_map = jacobian_map + image * map_image + anchor * map_anchor + row * map_row + column * map_column
        for c in tl.static_range(4):
            tl.store(to + 4 + c, tl.sum(heat * _map_entry(from_map, map_entry, c, inside, T, INDEX), 0))


@triton.jit
def _sum_over_blocks(
    sums, blocks, of_all, per, T: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr, C: tl.constexpr
):
    """Number C of the sums of a plane's blocks, brought to the largest logit of all."""
    total = tl.zeros([], T)
    for first in range(0, BLOCKS, CHUNK):
        block = first + tl.arange(0, CHUNK)
        at, exists = sums + block * SUMS, block < blocks
        scale = tl.exp((tl.load(at, mask=exists, other=-float("inf")) - _heat_reference(of_all)) * per)
        total += tl.sum(scale * tl.load(at + C, mask=exists, other=0.0), 0)
    return total


@triton.jit
def _combine(
    kp, jac, statistics, partials, blocks, per_temperature: tl.float64,
    T: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One plane's results from its blocks' sums, a chunk of blocks at a time."""
    plane = tl.program_id(0).to(tl.int64)
    sums = partials + plane * blocks * SUMS
    per = tl.full([1], per_temperature, T)
    # a NaN does not show in a maximum; it shows in the sums, whatever m is
    of_all = tl.full([], -float("inf"), T)
    for first in range(0, BLOCKS, CHUNK):
        block = first + tl.arange(0, CHUNK)
        of_all = tl.maximum(of_all, tl.max(tl.load(sums + block * SUMS, mask=block < blocks, other=-float("inf")), 0))
    mass = _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, 1)
    tl.store(kp + plane * 2, _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, 2) / mass)
    tl.store(kp + plane * 2 + 1, _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, 3) / mass)
    if jac is not None:
        for c in tl.static_range(4):
            tl.store(jac + plane * 4 + c, _sum_over_blocks(sums, blocks, of_all, per, T, BLOCKS, CHUNK, 4 + c) / mass)
    tl.store(statistics + plane * 2, of_all)
    tl.store(statistics + plane * 2 + 1, mass)


@triton.jit
def _incoming(gradient, C: tl.constexpr, T: tl.constexpr):
    """One number of a gradient; 0 of one that did not come."""
    if gradient is not None:
        value = tl.load(gradient + C).to(T)
    else:
        value = tl.zeros([], T)
    return value


@triton.jit
def _backward(
    grad_logits, grad_logits_image, grad_logits_anchor, grad_logits_row, grad_logits_column,
    grad_map, grad_map_image, grad_map_anchor, grad_map_entry, grad_map_row, grad_map_column,
    grad_kp, grad_jac, kp, jac, statistics,
    logits, logits_image, logits_anchor, logits_row, logits_column,
    jacobian_map, map_image, map_anchor, map_entry, map_row, map_column,
    height, width, per_temperature: tl.float64,
    ANCHORS: tl.constexpr, SHARED: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    T: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """With h = e / sum e: dl(z) = h (<g_kp, z - kp> + <g_jac, map(z) - jac>)/t, dmap(z) = h g_jac.

    The differences come first: under a narrow heat map they are small, and the products are not. The tensors without
    strides are contiguous.
    """
    image, _block, row, column, inside = image_and_pixels(height, width, BLOCK, INDEX)
    x = normalized(column, width, ALIGN_CORNERS, T)
    y = normalized(row, height, ALIGN_CORNERS, T)
    per = tl.full([1], per_temperature, T)
    if grad_map is not None:
        grad_map += image * grad_map_image + row * grad_map_row + column * grad_map_column
    shared0, shared1 = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    shared2, shared3 = tl.zeros([BLOCK], T), tl.zeros([BLOCK], T)
    for anchor in range(ANCHORS):
        k = tl.cast(anchor, INDEX)
        plane = image * ANCHORS + k
        reference = _heat_reference(tl.load(statistics + plane * 2))
        mass = tl.load(statistics + plane * 2 + 1)
        at = logits + image * logits_image + k * logits_anchor + row * logits_row + column * logits_column
        heat = tl.exp((tl.load(at, mask=inside, other=0.0).to(T) - reference) * per) / mass
        pull = (x - tl.load(kp + plane * 2)) * _incoming(_at(grad_kp, plane * 2), 0, T)
        pull += (y - tl.load(kp + plane * 2 + 1)) * _incoming(_at(grad_kp, plane * 2), 1, T)
        if jacobian_map is not None:
            from_map = jacobian_map + image * map_image + k * map_anchor + row * map_row + column * map_column
            incoming_jac = _at(grad_jac, plane * 4)
            for c in tl.static_range(4):
                entry = _map_entry(from_map, map_entry, c, inside, T, INDEX)
                pull += (entry - tl.load(jac + plane * 4 + c)) * _incoming(incoming_jac, c, T)
            if grad_map is not None:
                if SHARED:
                    shared0 += heat * _incoming(incoming_jac, 0, T)
                    shared1 += heat * _incoming(incoming_jac, 1, T)
                    shared2 += heat * _incoming(incoming_jac, 2, T)
                    shared3 += heat * _incoming(incoming_jac, 3, T)
                else:
                    for c in tl.static_range(4):
                        to = grad_map + k * grad_map_anchor + tl.cast(c, INDEX) * grad_map_entry
                        tl.store(to, heat * _incoming(incoming_jac, c, T), mask=inside)
        if grad_logits is not None:
            to = grad_logits + image * grad_logits_image + k * grad_logits_anchor
            tl.store(to + row * grad_logits_row + column * grad_logits_column, heat * pull * per, mask=inside)
    if grad_map is not None:
        if SHARED:
            tl.store(grad_map, shared0, mask=inside)
            tl.store(grad_map + grad_map_entry, shared1, mask=inside)
            tl.store(grad_map + tl.cast(2, INDEX) * grad_map_entry, shared2, mask=inside)
            tl.store(grad_map + tl.cast(3, INDEX) * grad_map_entry, shared3, mask=inside)


@triton.jit
def _at(gradient, offset):
    """A pointer moved, or still None."""
    if gradient is not None:
        moved = gradient + offset
    else:
        moved = None
    return moved


def _map_arguments(jacobian_map: Tensor | None) -> tuple[Tensor | int | None, ...]:
    """A map and its strides; that over the anchors is 0 where they share one."""
    if jacobian_map is None:
        return None, 0, 0, 0, 0, 0
    image, anchor, *rest = jacobian_map.stride()
    return jacobian_map, image, 0 if jacobian_map.shape[1] == 1 else anchor, *rest


@operator
def soft_argmax(
    logits: Tensor, jacobian_map: Tensor | None, temperature: float, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    batch, anchors, height, width = logits.shape
    kp = logits.new_empty(batch, anchors, 2, dtype=motion_dtype(logits.dtype))
    jac = empty(kp) if jacobian_map is None else kp.new_empty(batch, anchors, 2, 2)
    statistics = torch.empty_like(kp)
    planes = batch * anchors
    if planes:
        block = min(SUMMED, triton.next_power_of_2(height * width))
        blocks = triton.cdiv(height * width, block)
        partials = kp.new_empty(planes, blocks, SUMS.value)
        _sum_block[grid(planes, height * width, block)](
            partials, logits, *logits.stride(), *_map_arguments(jacobian_map), anchors, height, width, blocks,
            1 / temperature, ALIGN_CORNERS=align_corners, T=compute_type(logits),
            INDEX=index_type(logits, jacobian_map), BLOCK=block,
        )  # fmt: skip
        _combine[(planes,)](
            kp, None if jacobian_map is None else jac, statistics, partials, blocks, 1 / temperature,
            T=compute_type(logits), BLOCKS=triton.next_power_of_2(blocks),
            CHUNK=min(COMBINED, triton.next_power_of_2(blocks)),
        )  # fmt: skip
    return kp, jac, statistics


@operator
def soft_argmax_backward(
    grad_kp: Tensor | None,
    grad_jac: Tensor | None,
    logits: Tensor,
    jacobian_map: Tensor | None,
    kp: Tensor,
    jac: Tensor,
    statistics: Tensor,
    temperature: float,
    align_corners: bool,
    need_logits: bool,
    need_map: bool,
) -> tuple[Tensor, Tensor]:
    batch, anchors, height, width = logits.shape
    tensors = (logits, jacobian_map, kp, jac, statistics)
    gradients: tuple[Tensor, Tensor] = fakes.by_name["soft_argmax_backward"](
        grad_kp, grad_jac, *tensors, temperature, align_corners, need_logits, need_map
    )
    grad_logits = gradients[0] if need_logits else None
    grad_map = gradients[1] if need_map and jacobian_map is not None else None
    small = [None if t is None else t.contiguous() for t in (grad_kp, grad_jac, kp, jac, statistics)]
    if batch * anchors:
        _backward[grid(batch, height * width, PIXELS)](
            grad_logits, *strides(grad_logits, 4), grad_map, *strides(grad_map, 5),
            *small, logits, *logits.stride(), *_map_arguments(jacobian_map), height, width, 1 / temperature,
            ANCHORS=anchors, SHARED=jacobian_map is not None and jacobian_map.shape[1] == 1,
            ALIGN_CORNERS=align_corners, T=compute_type(logits),
            INDEX=index_type(logits, jacobian_map, grad_logits, grad_map), BLOCK=PIXELS,
        )  # fmt: skip
    elif grad_map is not None:
        grad_map.zero_()  # one for all of no anchors
    return gradients
