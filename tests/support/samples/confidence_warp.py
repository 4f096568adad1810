"""Sample inputs of `confidence_warp`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.warping import WARPED, coarse_field
from tests.support.samples.wild import Make, changed, every_third, in_bfloat16, not_finite, strange_motions


def arguments(
    source: Source,
    *,
    batch: int = 2,
    channels: int = 3,
    size: Size = (3, 5),
    ratio: int = 1,
    confidence: bool = True,
    reach: float = 1.4,
    **kwargs: Any,
) -> Arguments:
    """`size` is the field's; the features are `ratio` times as large."""
    height, width = size
    features = source.data(source.normal(batch, channels, height * ratio, width * ratio))
    field = coarse_field(source, batch, size, (ratio,), kwargs.get("align_corners", False), reach)
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *size)) if confidence else None
    return (features, source.motion(field), mask), kwargs


TAME: dict[str, dict[str, Any]] = {
    **WARPED,
    "ratio 2": {"ratio": 2},
    "ratio 4, border": {"ratio": 4, "padding_mode": "border"},
    "ratio 4, channels_last": {"ratio": 4, "layout": "channels_last"},
    "align_corners, channels_last": {"align_corners": True, "layout": "channels_last"},
    "ratio 8": {"ratio": 8, "size": (2, 1), "channels": 1},
    "ratio 2, one pixel": {"ratio": 2, "size": (1, 1)},
    "ratio 2, strided": {"ratio": 2, "layout": "strided"},
    "one channel": {"channels": 1, "batch": 1},
    "no channels": {"channels": 0},
    "many channels": {"channels": 37, "batch": 1},
    "many channels, channels_last": {"channels": 37, "batch": 1, "layout": "channels_last"},
    "wide rows": {"size": (2, 67)},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with values of every kind."""
    yield from strange_motions(make, 1, ("zeros", "border"))
    for mode in ("zeros", "border"):
        note = f"infinite coordinates, ratio 4, {mode}"
        plain = make(ratio=4, padding_mode=mode)
        yield changed(plain, note, 1, lambda t: every_third(t, math.inf, 0.1, math.nan, 0.1, -math.inf))
    plain = make(ratio=2)
    yield changed(plain, "infinite features", 0, lambda t: every_third(t, math.inf, math.nan, 0, 0, 0))
    yield changed(plain, "bfloat16 field", 1, in_bfloat16)
    for mode in ("zeros", "border"):
        for parameters in ({}, {"ratio": 2}, {"reach": 9.0}, {"channels": 37, "layout": "channels_last"}):
            note = f"{parameters}, {mode}"
            yield from not_finite(make(note=note, padding_mode=mode, **parameters))


LARGE: list[dict[str, Any]] = [
    {"channels": 131, "size": (19, 37)},
    {"channels": 3, "size": (150, 301), "padding_mode": "border"},
    {"channels": 66, "size": (9, 21), "ratio": 4},
    {"channels": 5, "size": (70, 10), "ratio": 2},
    {"channels": 5, "size": (140, 20), "align_corners": True},
    {"channels": 34, "size": (5, 6), "ratio": 8, "padding_mode": "border"},
]
