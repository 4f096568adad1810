"""Shared by the samples of operators that warp features by a coarse field."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from internet.ops import reference
from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.sample import Size
from tests.support.samples.source import Source, positions_in_pixels


def warp_positions(field: Tensor, sizes: Sequence[Size], options: Mapping[str, Any]) -> Tensor:
    """All positions, in pixels, where a coarse field samples features of these sizes, with a call's options."""
    resizing = (options.get("upsampling", "progressive"), options.get("interpolate_align_corners", False))
    found = []
    for size in sizes:
        fine = reference.resize(field.permute(0, 3, 1, 2), size, *resizing).permute(0, 2, 3, 1)
        found.append(positions_in_pixels(fine, size, options.get("align_corners", False)).flatten())
    return torch.cat(found)


def coarse_field(
    source: Source, batch: int, size: Size, sizes: Sequence[Size], options: Mapping[str, Any], reach: float
) -> Tensor:
    """A field (B, h, w, 2) whose samples are everywhere in the frame, and up to `reach` slightly beyond it.

    `sizes` are those of the features, `options` those of the call.
    """
    return source.clear_of_pixels(
        lambda: source.uniform(-reach, reach, batch, *size, 2),
        lambda values: warp_positions(values, sizes, options),
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
"""The parameters of samples that all of these operators have, by name."""
