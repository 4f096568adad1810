"""The maps of a motion at the size of the features: progressive 2x steps, or one interpolation."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.interpolation import interpolated
from internet.kernels.upsampling import upsampled


class CoarseMap(NamedTuple):
    """A map as an argument of a kernel: a `Strided` with its height and width."""

    data: Tensor
    strides: tuple[int, ...]
    size: tuple[int, int]

    @property
    def dtype(self) -> torch.dtype:
        """Kernels are tuned for each dtype."""
        return self.data.dtype


class Resizing(NamedTuple):
    """How a call resizes maps to the features: the options, and the size of the features."""

    upsampling: str
    align_corners: bool
    fine: tuple[int, int]

    def ratio(self, size: tuple[int, int]) -> int:
        """The ratio of progressive steps; 0 for an interpolation, unless that is equivalent to zero or one steps."""
        for ratio in (1, 2):
            same = ratio == 1 or self.upsampling != "interpolate" or not self.align_corners
            if same and (size[0] * ratio, size[1] * ratio) == self.fine:
                return ratio
        return 0 if self.upsampling == "interpolate" else self.fine[0] // max(size[0], 1)

    def needs_64_bits(self, size: tuple[int, int]) -> bool:
        """Whether an interpolation's dividends exceed 32 bits."""
        return any(2 * (fine + 1) * (coarse + 1) >= 2**31 for fine, coarse in zip(self.fine, size, strict=True))


@triton.jit
def resized(
    plane, row_stride, column_stride, size, fine_size, row, column, mask,
    RATIO: tl.constexpr, ALIGN_CORNERS: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """One channel of a map, at `plane`, at fine pixels."""
    if RATIO == 0:
        value = interpolated(plane, row_stride, column_stride, size, fine_size, row, column, mask, ALIGN_CORNERS, T)
    else:
        value = upsampled(plane, row_stride, column_stride, size[0], size[1], row, column, mask, RATIO, T)
    return value
