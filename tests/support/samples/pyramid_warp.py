"""Sample inputs of `pyramid_warp`."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

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
    features_sizes: Sequence[Size] | None = None,
    confidence: bool = True,
    confidence_sizes: Sequence[Size | None] | None = None,
    blend: Sequence[bool] | None = None,
    reach: float = 1.4,
    **kwargs: Any,
) -> Arguments:
    """`levels`: channels and the ratio, or the size, of each; one confidence for all, unless each has a size."""
    sizes = features_sizes or [(size[0] * ratio, size[1] * ratio) for _, ratio in levels]
    shapes = [(batch, channels, *fine) for (channels, _), fine in zip(levels, sizes, strict=True)]
    features = [source.data(source.normal(*shape)) for shape in shapes]
    moved = source.motion(coarse_field(source, batch, size, sizes, kwargs, reach))

    def mask(coarse: Size) -> Tensor:
        return source.motion(source.uniform(0.1, 1, batch, 1, *coarse))

    masks: Any = mask(size) if confidence else None
    if confidence_sizes is not None:
        masks = [None if coarse is None else mask(coarse) for coarse in confidence_sizes]
    if blend is not None:
        kwargs["blend"] = [
            source.data(source.normal(*shape)) if added else None for shape, added in zip(shapes, blend, strict=True)
        ]
    return (features, moved, masks), kwargs


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
    "a confidence for each level": {"confidence_sizes": [(3, 5), (6, 10)]},
    "a confidence for some": {"confidence_sizes": [None, (6, 10)], "blend": [False, True]},
    "blend": {"blend": [True, True]},
    "blend, one level": {"levels": ((3, 2),), "blend": [True], "confidence_sizes": [(3, 5)]},
    "interpolated": {
        "upsampling": "interpolate", "size": (4, 4), "features_sizes": [(2, 3), (8, 9)],
        "confidence_sizes": [(2, 3), (8, 9)], "align_corners": True, "interpolate_align_corners": True,
    },
    "interpolated, blend, channels_last": {
        "upsampling": "interpolate", "features_sizes": [(2, 3), (7, 6)], "blend": [False, True],
        "layout": "channels_last",
    },
}  # fmt: skip


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield from strange_motions(make, 2, ("zeros", "border"))
    for mode in ("zeros", "border"):
        yield from not_finite(make(note=mode, padding_mode=mode))


LARGE: list[dict[str, Any]] = [{"levels": ((131, 1), (66, 2), (33, 4)), "size": (13, 21)}]
