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
    features_size: Size | None = None,
    confidence: bool = True,
    confidence_size: Size | None = None,
    blend: bool = False,
    reach: float = 1.4,
    **kwargs: Any,
) -> Arguments:
    """`size` is the field's; the features are `ratio` times as large unless their size is given."""
    height, width = features_size or (size[0] * ratio, size[1] * ratio)
    features = source.data(source.normal(batch, channels, height, width))
    field = coarse_field(source, batch, size, [(height, width)], kwargs, reach)
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *(confidence_size or size))) if confidence else None
    moved = source.motion(field)
    if blend:
        kwargs["blend"] = source.data(source.normal(batch, channels, height, width))
    return (features, moved, mask), kwargs


INTERPOLATED: dict[str, Any] = {"upsampling": "interpolate"}
VECTORS: dict[str, Any] = {"channels": 16, "layout": "channels_last"}
"""A pixel's channels are whole vectors on a GPU, in every type."""
WINDOWS: dict[str, Any] = {"channels": 34, "size": (5, 19), "reach": 0.3, "batch": 1}
"""Many channels and samples that lie close together: the CPU takes them from the planes in place."""

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
    "whole vectors": VECTORS,
    "whole vectors, sliced": {**VECTORS, "layout": "sliced channels_last"},
    "whole vectors, offset": {**VECTORS, "layout": "offset channels_last"},
    "whole vectors, ratio 2, border": {"ratio": 2, "padding_mode": "border", **VECTORS},
    "wide rows": {"size": (2, 67)},
    "planes in place": WINDOWS,
    "planes in place, ratio 4, border": {**WINDOWS, "size": (3, 5), "ratio": 4, "padding_mode": "border"},
    "confidence of its own size": {"ratio": 4, "size": (2, 3), "confidence_size": (4, 6)},
    "blend": {"blend": True, "ratio": 2},
    "blend, channels_last": {"blend": True, "ratio": 2, "layout": "channels_last"},
    "blend, many channels": {"blend": True, "channels": 37, "batch": 1, "padding_mode": "border"},
    "blend, many channels, channels_last": {"blend": True, "channels": 37, "batch": 1, "layout": "channels_last"},
    "blend, whole vectors": {"blend": True, "ratio": 2, **VECTORS},
    "hundreds of channels": {**VECTORS, "channels": 264, "batch": 1, "size": (2, 3), "blend": True},
    "blend, planes in place": {"blend": True, **WINDOWS},
    "blend, mixed": {"blend": True, "channels": 5, "layout": "mixed", "reach": 2.0},
    "blend, wide rows": {"blend": True, "size": (2, 67)},
    "interpolated": {**INTERPOLATED, "features_size": (7, 8)},
    "interpolated, corners aligned": {**INTERPOLATED, "features_size": (7, 8), "interpolate_align_corners": True},
    "interpolated by 2": {**INTERPOLATED, "ratio": 2},
    "interpolated by 2, corners aligned": {**INTERPOLATED, "ratio": 2, "interpolate_align_corners": True},
    "interpolated by 4, align_corners": {**INTERPOLATED, "ratio": 4, "align_corners": True},
    "interpolated to less": {**INTERPOLATED, "size": (7, 9), "features_size": (3, 4), "padding_mode": "border"},
    "interpolated to less, corners aligned": {
        **INTERPOLATED, "size": (7, 9), "features_size": (3, 4), "interpolate_align_corners": True,
    },
    "interpolated, sizes of their own": {
        **INTERPOLATED, "size": (2, 9), "features_size": (5, 4), "confidence_size": (3, 1), "blend": True,
        "layout": "mixed",
    },
    "interpolated, confidence as large as the features": {
        **INTERPOLATED, "size": (6, 4), "features_size": (3, 7), "confidence_size": (3, 7), "align_corners": True,
        "interpolate_align_corners": True, "layout": "channels_last",
    },
    "interpolated, whole vectors": {**INTERPOLATED, "features_size": (7, 8), **VECTORS},
    "interpolated, blend, whole vectors": {**INTERPOLATED, "features_size": (7, 8), "blend": True, **VECTORS},
    "interpolated, field as large as the features": {**INTERPOLATED, "size": (5, 7), "confidence_size": (3, 4)},
    "interpolated to one pixel": {**INTERPOLATED, "features_size": (1, 1), "interpolate_align_corners": True},
    "interpolated from one pixel": {**INTERPOLATED, "size": (1, 1), "features_size": (3, 4)},
    "interpolated to no pixels": {**INTERPOLATED, "features_size": (0, 3)},
}  # fmt: skip


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield from strange_motions(make, 1, ("zeros", "border"))
    for mode in ("zeros", "border"):
        note = f"infinite coordinates, ratio 4, {mode}"
        plain = make(ratio=4, padding_mode=mode)
        yield changed(plain, note, 1, lambda t: every_third(t, math.inf, 0.1, math.nan, 0.1, -math.inf))
    plain = make(ratio=2)
    yield changed(plain, "infinite features", 0, lambda t: every_third(t, math.inf, math.nan, 0, 0, 0))
    yield changed(plain, "bfloat16 field", 1, in_bfloat16)
    for mode in ("zeros", "border"):
        for parameters in ({}, {"ratio": 2}, {"reach": 9.0}, {"channels": 37, "layout": "channels_last"}, VECTORS):
            note = f"{parameters}, {mode}"
            yield from not_finite(make(note=note, padding_mode=mode, **parameters))
    for parameters in (WINDOWS, {"blend": True}, {"blend": True, "reach": 9.0, **VECTORS}):
        yield from not_finite(make(note=str(parameters), **parameters))
    for aligned in (False, True):
        sizes = {"features_size": (5, 13), "confidence_size": (9, 2), "interpolate_align_corners": aligned}
        yield from not_finite(make(note=f"interpolated, {aligned}", **INTERPOLATED, **sizes))


LARGE: list[dict[str, Any]] = [
    {"channels": 131, "size": (19, 37)},
    {"channels": 3, "size": (150, 301), "padding_mode": "border"},
    {"channels": 66, "size": (9, 21), "ratio": 4},
    {"channels": 5, "size": (70, 10), "ratio": 2},
    {"channels": 5, "size": (140, 20), "align_corners": True},
    {"channels": 34, "size": (5, 6), "ratio": 8, "padding_mode": "border"},
    {**INTERPOLATED, "channels": 66, "size": (9, 21), "features_size": (37, 82), "blend": True},
    {**INTERPOLATED, "channels": 5, "size": (150, 301), "features_size": (70, 33), "interpolate_align_corners": True},
]
