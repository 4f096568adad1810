"""Sample inputs of `anchor_features`."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from internet.ops import reference
from tests.support.samples.anchors import ANCHORED, Anchors, draw_anchors, singular
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
    **kwargs: Any,
) -> Arguments:
    image = source.data(source.normal(batch, channels, *size))
    align_corners = kwargs.get("align_corners", False)
    own = kwargs.get("grid_align_corners")
    grid = reference.identity_grid(size, align_corners if own is None else own, torch.zeros(0).double())

    def positions(points: Anchors) -> Tensor:
        motions = reference.local_motions(grid, *reference.anchor_affines(*points))
        return positions_in_pixels(motions[:, 1:], size, align_corners)  # the background's are whole, and constant

    points = source.clear_of_pixels(lambda: draw_anchors(source, batch, anchors, jacobians), positions)
    return (image, *(None if p is None else source.motion(p) for p in points)), kwargs


TAME: dict[str, dict[str, Any]] = {
    **ANCHORED,
    "grid of first-order-motion": {"grid_align_corners": True},
    "wide Gaussians": {"variance": 0.3},
    "one channel": {"channels": 1},
    "wide rows": {"size": (2, 35), "anchors": 1},
}


def wild(make: Make) -> Iterator[Sample]:
    """Samples with values of every kind."""
    yield changed(make(anchors=3), "singular Jacobians", 4, singular)
    yield changed(make(), "NaN anchors", 1, lambda t: every_third(t, math.nan))
    # with this grid the background's samples keep clear of whole pixels, where a neighbour is read with weight zero
    yield from not_finite(make(grid_align_corners=True))


LARGE: list[dict[str, Any]] = [{"anchors": 10, "size": (64, 65)}]
