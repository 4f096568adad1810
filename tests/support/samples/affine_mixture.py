"""Sample inputs of `affine_mixture`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.anchors import ANCHORED, draw_anchors, draw_background, singular
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
    background: bool = False,
    **kwargs: Any,
) -> Arguments:
    logits = source.data(source.normal(batch, anchors + 1, *size))
    points = draw_anchors(source, batch, anchors, jacobians, axes=len(size))
    if background:
        kwargs["background"] = source.motion(draw_background(source, batch, axes=len(size)))
    return (logits, *(None if p is None else source.motion(p) for p in points)), kwargs


TAME: dict[str, dict[str, Any]] = {
    **ANCHORED,
    "one pixel, align_corners": {"size": (1, 1), "align_corners": True},
    "threshold": {"threshold": 0.15},
    "threshold, twenty anchors": {"anchors": 20, "size": (2, 19), "threshold": 0.03},
    "wide rows": {"size": (2, 67)},
    "background": {"background": True},
    "background, threshold": {"background": True, "threshold": 0.15, "align_corners": True},
    "background, wide rows": {"background": True, "size": (2, 67), "layout": "channels_last"},
    "no anchors before a background": {"background": True, "anchors": 0, "layout": "strided"},
    **{
        f"volume, {name}": {"size": (2, 3, 5), **options} for name, options in ANCHORED.items() if "size" not in options
    },
    "volume, threshold": {"size": (2, 3, 5), "threshold": 0.15},
    "volume, twenty anchors": {"size": (2, 2, 3), "anchors": 20, "jacobians": False},
    "volume, background": {"size": (3, 2, 19), "background": True},
    "volume, background, threshold": {"size": (3, 2, 5), "background": True, "threshold": 0.15, "layout": "mixed"},
    "volume, wide rows": {"size": (2, 2, 67), "layout": "channels_last"},
    "volume of one slice": {"size": (1, 3, 5), "align_corners": True},
    "volume of nothing": {"size": (2, 0, 3)},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    plain = make()
    yield changed(plain, "singular Jacobians", 4, singular)
    yield changed(plain, "large logits", 0, lambda t: 3000 * t)
    yield changed(plain, "masked logits", 0, lambda t: every_third(t, -math.inf))
    yield changed(plain, "NaN logits", 0, lambda t: every_third(t, math.nan))
    yield changed(plain, "NaN anchors", 1, lambda t: every_third(t, math.nan))
    yield changed(make(size=(2, 3, 5)), "singular Jacobians of a volume", 4, singular)
    for options in (
        {},
        {"threshold": 0.15},
        {"jacobians": False},
        {"background": True},
        {"background": True, "threshold": 0.15},
        {"size": (2, 3, 5), "background": True},
    ):
        yield from not_finite(make(note=str(options), **options))


LARGE: list[dict[str, Any]] = [
    {"anchors": 20, "size": (37, 301), "threshold": 0.02},
    {"batch": 5, "anchors": 10, "size": (129, 33)},
    {"anchors": 10, "size": (65, 131), "background": True},
    {"anchors": 21, "size": (5, 31, 67), "jacobians": False},
    {"anchors": 5, "size": (7, 9, 133), "background": True, "threshold": 0.02},
]
