"""Sample inputs of `affine_mixture`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.anchors import ANCHORED, draw_anchors, singular
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.wild import Make, changed, every_third, not_finite


def arguments(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 3,
    size: Size = (5, 7),
    jacobians: bool = True,
    **kwargs: Any,
) -> Arguments:
    logits = source.data(source.normal(batch, anchors + 1, *size))
    points = draw_anchors(source, batch, anchors, jacobians)
    return (logits, *(None if p is None else source.motion(p) for p in points)), kwargs


TAME: dict[str, dict[str, Any]] = {
    **ANCHORED,
    "one pixel, align_corners": {"size": (1, 1), "align_corners": True},
    "threshold": {"threshold": 0.15},
    "threshold, twenty anchors": {"anchors": 20, "size": (2, 19), "threshold": 0.03},
    "wide rows": {"size": (2, 67)},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with values of every kind."""
    plain = make()
    yield changed(plain, "singular Jacobians", 4, singular)
    yield changed(plain, "large logits", 0, lambda t: 3000 * t)
    yield changed(plain, "masked logits", 0, lambda t: every_third(t, -math.inf))
    yield changed(plain, "NaN logits", 0, lambda t: every_third(t, math.nan))
    yield changed(plain, "NaN anchors", 1, lambda t: every_third(t, math.nan))
    for options in ({}, {"threshold": 0.15}, {"jacobians": False}):
        yield from not_finite(make(note=str(options), **options))


LARGE: list[dict[str, Any]] = [
    {"anchors": 20, "size": (37, 301), "threshold": 0.02},
    {"batch": 5, "anchors": 10, "size": (129, 33)},
]
