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
    """`size` is an image's or a volume's; `jacobian_maps`: K, 1 (shared), or 0 for None."""
    logits = source.data(0.2 * source.normal(batch, anchors, *size))
    maps = source.matrices(source.normal(batch, jacobian_maps, len(size) ** 2, *size)) if jacobian_maps else None
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
    "covariance": {"covariance": True},
    "covariance, no Jacobian map": {"covariance": True, "jacobian_maps": 0, "align_corners": True},
    "covariance, rows of four": {"size": (3, 8), "covariance": True, "jacobian_maps": 3},
    "covariance of narrow peaks": {"covariance": True, "temperature": 0.02},
    "transposed, rows of four": {"size": (4, 8), "jacobian_maps": 3, "layout": "transposed"},
    "offset, rows of four": {"size": (3, 8), "jacobian_maps": 3, "layout": "offset"},
    "volumes": {"size": (3, 4, 5)},
    "volumes, own Jacobian maps": {"size": (3, 4, 5), "jacobian_maps": 3, "align_corners": True},
    "volumes, covariance, no Jacobian map": {"size": (2, 3, 11), "covariance": True, "jacobian_maps": 0},
    "volumes, covariance": {"size": (3, 4, 5), "covariance": True, "jacobian_maps": 3},
    "volumes, one slice": {"size": (1, 3, 4), "covariance": True},
    "volumes, channels_last": {"size": (3, 4, 5), "covariance": True, "layout": "channels_last"},
    "volumes, strided": {"size": (3, 4, 5), "covariance": True, "jacobian_maps": 3, "layout": "strided"},
    "volumes, transposed": {"size": (3, 4, 5), "covariance": True, "layout": "transposed"},
    "volumes, expanded": {"size": (3, 4, 5), "layout": "expanded"},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield changed(make(), "large logits", 0, lambda t: 3000 * t)
    yield changed(make(size=(3, 8)), "large logits, rows of four", 0, lambda t: 3000 * t)
    yield changed(make(), "masked logits", 0, lambda t: every_third(t, -math.inf))
    yield changed(make(), "no heat", 0, lambda t: torch.full_like(t, -math.inf))
    yield changed(make(size=(2, 3, 4), covariance=True), "masked voxels", 0, lambda t: every_third(t, -math.inf))
    yield from not_finite(make())
    yield from not_finite(make(note="volumes, covariance", size=(2, 3, 4), covariance=True))


LARGE: list[dict[str, Any]] = [
    {"anchors": 10, "size": (64, 65), "covariance": True},
    {"anchors": 5, "size": (7, 40, 33), "covariance": True, "jacobian_maps": 5},
]
