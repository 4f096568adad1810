"""Optical flow between distant frames, composed from the frames between them."""

from collections.abc import Callable

import torch
from torch import Tensor

from internet import ops
from internet.geometry import identity_field

#: Consistency of chained flows for :func:`internet.ops.flow_confidence`: errors add up along a chain.
CONSISTENCY = (0.05, 2.0)


def chained(first: Tensor, second: Tensor) -> Tensor:
    """The composition of two flows: first(z) + second(z + first(z)), all (B, 2, H, W) in pixels.

    Outside the frame, the second flow continues with its border values.
    """
    height, width = first.shape[-2:]
    to_field = first.new_tensor([2 / width, 2 / height])
    field = identity_field(height, width, first.device) + first.permute(0, 2, 3, 1) * to_field
    return first + ops.confidence_warp(second, field, padding_mode="border")


def flow_chain(start: int, end: int, span: Callable[[int, int], Tensor]) -> Tensor:
    """The flow from frame `start` to frame `end`, composed of spans whose lengths are powers of two.

    An estimator can follow an arm from one frame to the next, but not from one pose to another. The composed flows from
    frame to frame can, though their errors add up and outlines blur. With spans of 2, 4, 8, ... frames, a chain over n
    frames has only few links.

    Args:
        start, end: different numbers of frames, in either order.
        span: (number, length) -> the flow from this frame to the one `length` later, or earlier if it is negative.
    """
    left, direction, at = abs(end - start), 1 if end > start else -1, start
    flow: Tensor | None = None
    while left:
        length = direction * (1 << (left.bit_length() - 1))
        link = span(at, length)
        flow = link if flow is None else chained(flow, link)
        at, left = at + length, left - abs(length)
    if flow is None:
        raise ValueError(f"start and end are both {start}, expected two different frames")
    return flow


def chain_visible(flow: Tensor, back: Tensor) -> Tensor:
    """Where chained flows in both directions agree: (B, 1, H, W) of 0 and 1. Drift is tolerated, and motion boundaries
    are not excluded: an articulated figure consists of little else."""
    with torch.no_grad():
        return ops.flow_confidence(flow, back, consistency=CONSISTENCY, boundary=None)
