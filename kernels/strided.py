"""A tensor and its strides as one argument of a kernel, as in csrc/arguments/strided.h.

Triton unpacks a tuple of arguments: every stride is specialised (equal to 1, divisible by 16) as if it had been passed
by itself.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Strided(NamedTuple):
    """A tensor as kernels access it: a pointer, and a stride for each axis in elements."""

    data: Tensor
    strides: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Kernels are tuned for each dtype: `triton.autotune` looks for this attribute."""
        return self.data.dtype


def strided(tensor: Tensor | None) -> Strided | None:
    """A tensor as an argument; None stays None, which kernels can test."""
    return None if tensor is None else Strided(tensor, tensor.stride())


@triton.jit
def at(view, index):
    """The address of view[index]; further axes are at 0. The first index is one number, the others may be blocks.

    The offset of the image is added separately: one 64-bit address for the whole program, and narrow offsets from it.
    """
    offset = 0
    for axis in tl.static_range(1, len(index)):
        offset += index[axis] * view.strides[axis]
    return view.data + index[0] * view.strides[0] + offset
