"""The random tensors of a sample, and how far sampling positions keep from pixels.

Bilinear sampling has a kink at every pixel and at the border of the frame, where a rounding error decides which
one-sided derivative results. So in samples that are not wild, no sampling position is closer to a whole pixel than
`MARGIN`: a hundred times the rounding error of float32 at these sizes, and ten times the step of gradcheck.
Everything is generated in float64 from a fixed seed and then rounded to the dtype.
"""

import itertools
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from internet.ops import reference
from tests.support.samples.layouts import LAYOUTS
from tests.support.samples.sample import Size

T = TypeVar("T")

MARGIN = 1e-4  # pixels


class Source:
    """Random tensors of one sample: generated in float64, rounded to a dtype, and laid out in memory.

    `layout` is one of LAYOUTS, or "mixed": another one for each tensor.
    """

    def __init__(self, dtype: torch.dtype, layout: str, seed: int, margin: float = MARGIN) -> None:
        self.dtype, self.margin = dtype, margin
        names = ("contiguous", "channels_last", "strided", "transposed") if layout == "mixed" else (layout,)
        self.layouts = itertools.cycle(LAYOUTS[name] for name in names)
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def data(self, values: Tensor) -> Tensor:
        """As a data tensor, in the sample's dtype."""
        return next(self.layouts)(values.to(self.dtype))

    def matrices(self, values: Tensor) -> Tensor:
        """As maps of matrices (B, K, 4, ...), in the sample's dtype: a view of a convolution's output."""
        return self.data(values.flatten(1, 2)).unflatten(1, values.shape[1:3])

    def motion(self, values: Tensor) -> Tensor:
        """As a tensor of coordinates, in the dtype that goes with the data."""
        return next(self.layouts)(values.to(reference.motion_dtype(self.dtype)))

    def clear_of_pixels(self, draw: Callable[[], T], positions: Callable[[T], Tensor]) -> T:
        """The result of `draw`, repeated until no position is closer to a whole pixel than the margin."""
        for _ in range(1000):
            values = draw()
            if not self.margin or distance_to_pixels(positions(values)) > self.margin:
                return values
        raise ValueError("too many sample positions for all of them to keep clear of the pixels")


def distance_to_pixels(positions: Tensor) -> float:
    """The least distance of any position, in pixels, from a whole number."""
    return (positions - positions.round()).abs().min().item() if positions.numel() else math.inf


def positions_in_pixels(field: Tensor, size: Size, align_corners: bool) -> Tensor:
    """A motion field (..., 2) as positions in an image of this size, in pixels; likewise for a volume."""
    extent = torch.tensor(size[::-1], dtype=field.dtype)
    middle = (extent - 1) / 2
    return middle + field * (middle if align_corners else extent / 2)
