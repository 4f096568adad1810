"""Sample inputs of `upsample_motion`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.wild import Make, changed, every_third, in_bfloat16, not_finite


def arguments(source: Source, *, batch: int = 2, size: Size = (3, 5), confidence: bool = True) -> Arguments:
    field = source.motion(source.normal(batch, *size, 2))
    return (field, source.motion(source.uniform(0, 1, batch, 1, *size)) if confidence else None), {}


TAME: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no confidence": {"confidence": False},
    "one row": {"size": (1, 4)},
    "one column": {"size": (4, 1)},
    "one pixel": {"size": (1, 1), "batch": 1},
    "wide rows": {"size": (2, 67)},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    plain = make(size=(5, 7))
    yield changed(plain, "infinite motion", 0, lambda t: every_third(t, math.inf))
    yield changed(plain, "NaN confidence", 1, lambda t: every_third(t, math.nan))
    yield changed(plain, "bfloat16 confidence", 1, in_bfloat16)
    yield from not_finite(plain)


LARGE: list[dict[str, Any]] = [{"size": (37, 301)}, {"size": (129, 33)}]
