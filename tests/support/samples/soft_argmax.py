"""Sample inputs of `soft_argmax`."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.wild import Make, changed, every_third, not_finite


def arguments(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 3,
    size: Size = (5, 7),
    jacobian_maps: int = 1,
    **kwargs: Any,
) -> Arguments:
    """`jacobian_maps`: K, 1 (shared), or 0 for None."""
    logits = source.data(0.2 * source.normal(batch, anchors, *size))
    maps = source.matrices(source.normal(batch, jacobian_maps, 4, *size)) if jacobian_maps else None
    return (logits, maps), kwargs


TAME: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "own Jacobian maps": {"jacobian_maps": 3},
    "no Jacobian map": {"jacobian_maps": 0},
    "temperature 1": {"temperature": 1.0},
    "align_corners": {"align_corners": True},
    "twenty anchors": {"anchors": 20},
    "one pixel": {"size": (1, 1)},
    "wide rows": {"size": (2, 67)},
    "empty batch": {"batch": 0},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with values of every kind."""
    yield changed(make(), "large logits", 0, lambda t: 3000 * t)
    yield changed(make(), "masked logits", 0, lambda t: every_third(t, -math.inf))
    yield changed(make(), "no heat", 0, lambda t: torch.full_like(t, -math.inf))
    yield from not_finite(make())


LARGE: list[dict[str, Any]] = [{"anchors": 10, "size": (64, 65)}]
