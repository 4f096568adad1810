"""Sample inputs of `anchor_features`."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from internet.ops import reference
from tests.support.samples.anchors import ANCHORED, Anchors, draw_anchors, draw_background, singular
from tests.support.samples.sample import Arguments, Sample, Size
from tests.support.samples.source import Source, positions_in_pixels
from tests.support.samples.wild import Make, changed, every_third, not_finite


def arguments(
    source: Source,
    *,
    batch: int = 2,
    anchors: int = 2,
    channels: int = 3,
    size: Size = (4, 5),
    jacobians: bool = True,
    background: bool = False,
    covariances: bool = False,
    **kwargs: Any,
) -> Arguments:
    axes = len(size)
    image = source.data(source.normal(batch, channels, *size))
    align_corners = kwargs.get("align_corners", False)
    own = kwargs.get("grid_align_corners")
    grid = reference.identity_grid(size, align_corners if own is None else own, torch.zeros(0).double())

    def draw() -> tuple[Anchors, Tensor | None]:
        points = draw_anchors(source, batch, anchors, jacobians, axes)
        return points, draw_background(source, batch, axes) if background else None

    def positions(drawn: tuple[Anchors, Tensor | None]) -> Tensor:
        points, still = drawn
        motions = reference.local_motions(grid, *reference.anchor_affines(*points), still)
        moving = motions if background else motions[:, 1:]  # those of a still background are whole, and constant
        return positions_in_pixels(moving, size, align_corners)

    points, still = source.clear_of_pixels(draw, positions)
    if still is not None:
        kwargs["background"] = source.motion(still)
    for name in ("covariance_source", "covariance_driving") if covariances else ():
        kwargs[name] = source.motion(draw_covariance(source, batch, anchors, axes))
    return (image, *(None if p is None else source.motion(p) for p in points)), kwargs


def draw_covariance(source: Source, batch: int, anchors: int, axes: int) -> Tensor:
    """Positive definite, with standard deviations of 0.2 and more, as rounding shows in the inverse of smaller ones.

    They are not exactly symmetric, which is not required.
    """
    still = torch.eye(axes, dtype=torch.float64)
    root = 0.4 * (still + 0.2 * source.normal(batch, anchors, axes, axes))
    return root @ root.mT + 0.04 * still + 0.01 * source.normal(batch, anchors, axes, axes)


WIDE: dict[str, Any] = {"background": True, "covariances": True}

TAME: dict[str, dict[str, Any]] = {
    **ANCHORED,
    "grid of first-order-motion": {"grid_align_corners": True},
    "wide Gaussians": {"variance": 0.3},
    "one channel": {"channels": 1},
    "four channels": {"channels": 4},
    "five channels, channels_last": {"channels": 5, "layout": "channels_last"},
    "wide rows": {"size": (2, 35), "anchors": 1},
    "background": {"background": True},
    "covariances": {"covariances": True, "layout": "mixed"},
    "background, no anchors": {"background": True, "anchors": 0},
    "background and covariances, wide rows": {"size": (2, 35), "anchors": 1, **WIDE},
    **{
        f"volume, {name}": {"size": (2, 3, 4), **options}
        for name, options in ANCHORED.items()
        if "size" not in options and name != "twenty anchors"
    },
    "volume, grid of LivePortrait": {
        "size": (2, 3, 4),
        "anchors": 3,
        "channels": 4,
        "jacobians": False,
        "variance": 0.1,
        "grid_align_corners": True,
    },
    "volume, four channels, channels_last": {"size": (3, 2, 4), "channels": 4, "layout": "channels_last"},
    "volume, one channel": {"size": (2, 3, 4), "channels": 1, "align_corners": True},
    "volume, wide rows": {"size": (2, 1, 35), "anchors": 1},
    "volume, background": {"size": (2, 3, 4), "anchors": 1, "background": True},
    "volume, covariances": {"size": (2, 3, 4), "covariances": True, "layout": "mixed"},
    "volume, background and covariances": {"size": (2, 2, 9), "anchors": 1, "channels": 4, **WIDE},
    "volume of one voxel": {"size": (1, 1, 1)},
    "volume of no voxels": {"size": (2, 0, 3)},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with extreme values of every kind."""
    yield changed(make(anchors=3), "singular Jacobians", 4, singular)
    yield changed(make(size=(2, 3, 4), anchors=3), "singular Jacobians of a volume", 4, singular)
    yield changed(make(), "NaN anchors", 1, lambda t: every_third(t, math.nan))
    beside = changed(make(), "", 1, lambda t: t + 10)
    yield changed(beside, "NaN that no anchor reads", 0, lambda t: torch.full_like(t, math.nan))
    yield changed(make(covariances=True), "flat covariances", 5, lambda t: every_third(torch.zeros_like(t), 0.1))
    # with this grid the background's samples avoid whole pixels, where a neighbour is read with weight zero
    yield from not_finite(make(grid_align_corners=True))
    yield from not_finite(make(note="volume", size=(2, 3, 4), channels=4, grid_align_corners=True))
    for size in (4, 5), (2, 3, 4):
        yield from (s for s in not_finite(make(note=f"wide, {size}", size=size, anchors=1, **WIDE)) if comparable(s))


def comparable(sample: Sample) -> bool:
    """Whether all backends agree: in a covariance's quadratic form, infinities of both signs can meet."""
    return sample.note.startswith("NaN")


LARGE: list[dict[str, Any]] = [
    {"anchors": 10, "size": (64, 65)},
    {"anchors": 4, "size": (33, 130), **WIDE},  # in wider images, positions in float32 are not precise enough
    {"anchors": 5, "channels": 4, "size": (3, 35, 65), "jacobians": False},
    {"anchors": 3, "channels": 4, "size": (2, 33, 131), **WIDE},
]
