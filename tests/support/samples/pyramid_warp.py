"""Sample inputs of `pyramid_warp`."""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source
from tests.support.samples.warping import WARPED, coarse_field
from tests.support.samples.wild import Make, not_finite, strange_motions


def arguments(
    source: Source,
    *,
    batch: int = 2,
    levels: Sequence[tuple[int, int]] = ((3, 1), (2, 2)),
    size: Size = (3, 5),
    confidence: bool = True,
    reach: float = 1.4,
    **kwargs: Any,
) -> Arguments:
    """`levels`: channels and ratio of each."""
    height, width = size
    features = [
        source.data(source.normal(batch, channels, height * ratio, width * ratio)) for channels, ratio in levels
    ]
    ratios = [ratio for _, ratio in levels]
    field = coarse_field(source, batch, size, ratios, kwargs.get("align_corners", False), reach)
    mask = source.motion(source.uniform(0.1, 1, batch, 1, *size)) if confidence else None
    return (features, source.motion(field), mask), kwargs


TAME: dict[str, dict[str, Any]] = {
    **WARPED,
    "align_corners": {"align_corners": True, "levels": ((3, 1), (2, 1))},
    "border, align_corners": {"padding_mode": "border", "align_corners": True, "levels": ((3, 1), (2, 1))},
    "no pixels": {"size": (0, 4), "levels": ((3, 1), (2, 1))},
    "three levels": {"levels": ((5, 1), (3, 2), (2, 4))},
    "three levels, channels_last": {"levels": ((5, 1), (3, 2), (2, 4)), "layout": "channels_last"},
    "any order, a level twice": {"levels": ((1, 4), (2, 1), (3, 4))},
    "one level": {"levels": ((3, 2),)},
    "ratio 8": {"levels": ((1, 8), (2, 1)), "size": (1, 2)},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with values of every kind."""
    yield from strange_motions(make, 2, ("zeros", "border"))
    for mode in ("zeros", "border"):
        yield from not_finite(make(note=mode, padding_mode=mode))


LARGE: list[dict[str, Any]] = [{"levels": ((131, 1), (66, 2), (33, 4)), "size": (13, 21)}]
