"""Sample inputs of `flow_confidence`."""

import math
from collections.abc import Iterator
from typing import Any

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.wild import Make, changed, every_third, not_finite


def arguments(source: Source, *, batch: int = 2, size: Size = (7, 9), reach: float = 1.5, **kwargs: Any) -> Arguments:
    """Smooth flows that are nearly consistent, so that each of the tests rejects some pixels and keeps others."""
    smooth = source.uniform(-reach, reach, batch, 2, 1, 1).expand(batch, 2, *size)
    forward = smooth + 0.05 * source.normal(batch, 2, *size)
    backward = -smooth + 0.5 * source.normal(batch, 2, *size)
    return (source.data(forward), source.data(backward)), kwargs


TAME: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no boundary test": {"boundary": None},
    "strict": {"consistency": (0.001, 0.01), "boundary": (0.0, 0.01)},
    "one row": {"size": (1, 4)},
    "one pixel": {"size": (1, 1)},
    "wide rows": {"size": (2, 67)},
    "padded rows": {"size": (7, 11), "layout": "cropped"},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    "mostly out of the frame": {"reach": 9.0},
    **LAID_OUT,
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    for note, value in {"NaN": math.nan, "infinite": math.inf, "huge": 6e4}.items():
        yield changed(make(), f"{note} forward", 0, lambda t, v=value: every_third(t, v))
        yield changed(make(), f"{note} backward", 1, lambda t, v=value: every_third(t, v))
    yield make(note="no motion", reach=0.0)
    yield from not_finite(make())
    yield from not_finite(make(note="no boundary test", boundary=None))


LARGE: list[dict[str, Any]] = [{"size": (150, 301)}, {"batch": 5, "size": (129, 33)}]
