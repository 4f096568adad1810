"""A tensor as one argument of a kernel, its strides beside it; csrc/arguments/strided.h.

Triton takes a tuple of arguments apart: every stride is specialised (equal to 1, divisible by 16) as if it had been
passed by itself.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Strided(NamedTuple):
    """What a kernel sees of a tensor: a pointer, and a stride for each axis, in elements."""

    data: Tensor
    strides: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Tuned kernels are tuned for each: `triton.autotune` looks for this name."""
        return self.data.dtype


def strided(tensor: Tensor | None) -> Strided | None:
    """The argument; None, which a kernel can ask for, for None."""
    return None if tensor is None else Strided(tensor, tensor.stride())


@triton.jit
def at(view, index):
    """The address of view[index]; further axes are at 0. The first index is one number, the others may be blocks.

    That of the image is added by itself: one 64-bit address for the whole program, and narrow offsets from there.
    """
    offset = 0
    for axis in tl.static_range(1, len(index)):
        offset += index[axis] * view.strides[axis]
    return view.data + index[0] * view.strides[0] + offset
