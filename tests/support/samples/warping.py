"""What the operators that warp features by a coarse field share."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from internet.ops import reference
from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Size
from tests.support.samples.source import Source, positions_in_pixels


def warp_positions(field: Tensor, ratios: Sequence[int], align_corners: bool) -> Tensor:
    """Where a coarse field samples features at each of these multiples of its size, in pixels, all in a row."""
    found = []
    for ratio in ratios:
        fine = field
        for _ in range(int(math.log2(ratio))):
            fine, _ = reference.upsample_motion(fine)
        size = (fine.shape[1], fine.shape[2])
        found.append(positions_in_pixels(fine, size, align_corners).flatten())
    return torch.cat(found)


def coarse_field(
    source: Source, batch: int, size: Size, ratios: Sequence[int], align_corners: bool, reach: float
) -> Tensor:
    """A field (B, h, w, 2) whose samples fall everywhere in the frame, up to `reach`, and so a bit beyond it."""
    return source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, *size, 2),
        lambda values: warp_positions(values, ratios, align_corners),
    )


WARPED: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no confidence": {"confidence": False},
    "border": {"padding_mode": "border"},
    "align_corners": {"align_corners": True},
    "border, align_corners": {"padding_mode": "border", "align_corners": True},
    "mostly out of the frame": {"reach": 9.0},
    "mostly out of the frame, border": {"reach": 9.0, "padding_mode": "border"},
    "one row": {"size": (1, 4)},
    "one pixel, border": {"size": (1, 1), "batch": 1, "padding_mode": "border"},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    **LAID_OUT,
}
"""The parameters of samples that all of them have, by name."""
