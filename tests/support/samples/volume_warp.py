"""Sample inputs of `volume_warp`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source, positions_in_pixels
from tests.support.samples.wild import Make, changed, every_third, in_bfloat16, not_finite, strange_motions


def arguments(
    source: Source,
    *,
    batch: int = 2,
    channels: int = 3,
    size: Size = (3, 4, 5),
    out: Size = (2, 3, 4),
    confidence: bool = True,
    reach: float = 1.4,
    **kwargs: Any,
) -> Arguments:
    """`size` is the volume's, `out` the field's, whose samples extend to `reach`, slightly out of the frame."""
    volume = source.data(source.normal(batch, channels, *size))
    align_corners = kwargs.get("align_corners", False)
    field = source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, *out, 3),
        lambda values: positions_in_pixels(values, size, align_corners),
    )
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *out)) if confidence else None
    return (volume, source.motion(field), mask), kwargs


VECTORS: dict[str, Any] = {"channels": 16, "layout": "channels_last"}
"""A voxel's channels are whole vectors on a GPU, in every type."""

TAME: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no confidence": {"confidence": False},
    "border": {"padding_mode": "border"},
    "align_corners": {"align_corners": True},
    "border, align_corners": {"padding_mode": "border", "align_corners": True},
    "mostly out of the frame": {"reach": 9.0},
    "mostly out of the frame, border": {"reach": 9.0, "padding_mode": "border"},
    "one slice": {"size": (1, 4, 3), "out": (1, 2, 5)},
    "one voxel, border": {"size": (1, 1, 1), "batch": 1, "padding_mode": "border"},
    "one sample": {"out": (1, 1, 1)},
    "no voxels": {"size": (0, 4, 3)},
    "no samples": {"out": (2, 0, 3)},
    "empty batch": {"batch": 0},
    "one channel": {"channels": 1, "batch": 1},
    "no channels": {"channels": 0},
    "many channels": {"channels": 37, "batch": 1},
    "many channels, channels_last": {"channels": 37, "batch": 1, "layout": "channels_last"},
    "border, channels_last": {"padding_mode": "border", "layout": "channels_last"},
    "whole vectors": VECTORS,
    "whole vectors, sliced": {**VECTORS, "layout": "sliced channels_last"},
    "whole vectors, offset": {**VECTORS, "layout": "offset channels_last"},
    "whole vectors, border": {"padding_mode": "border", **VECTORS},
    "wide rows": {"size": (2, 2, 67), "out": (2, 1, 67)},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield from strange_motions(make, 1, ("zeros", "border"))
    yield changed(make(), "infinite voxels", 0, lambda t: every_third(t, math.inf, math.nan, 0, 0, 0))
    yield changed(make(), "bfloat16 field", 1, in_bfloat16)
    for mode in ("zeros", "border"):
        for parameters in ({}, {"reach": 9.0}, {"channels": 37, "layout": "channels_last"}, VECTORS):
            note = f"{parameters}, {mode}"
            yield from not_finite(make(note=note, padding_mode=mode, **parameters))


LARGE: list[dict[str, Any]] = [
    {"channels": 67, "size": (5, 9, 19), "out": (6, 11, 17)},
    {"channels": 3, "size": (9, 30, 41), "out": (9, 30, 41), "padding_mode": "border"},
    {"channels": 34, "size": (17, 6, 5), "out": (3, 21, 33), "align_corners": True},
]
