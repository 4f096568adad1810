"""Decisions for a launch: types, strides, blocks and grids."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from internet.kernels.registry import INTERPRETED
from internet.ops.results import memory_format_of

PIXELS = 128
"""Pixels per program where one thread computes about one pixel."""


def compute_type(tensor: Tensor) -> tl.dtype:
    """The arithmetic type for data of this type."""
    return tl.float64 if tensor.dtype == torch.float64 else tl.float32


def index_type(*tensors: Tensor | None) -> tl.dtype:
    """32 bits, which are faster, if they reach every element of every tensor; otherwise 64."""
    return tl.int64 if any(_span(tensor) >= 2**31 for tensor in tensors if tensor is not None) else tl.int32


def _span(tensor: Tensor) -> int:
    """One more than the offset of the last element, or the number of elements, whichever is more."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return max(last + 1, tensor.numel())


def strides(tensor: Tensor | None, axes: int) -> tuple[int, ...]:
    """A tensor's strides; zeros for None, whose pointer the kernel does not use."""
    return (0,) * axes if tensor is None else tensor.stride()


def accumulator(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Zeros for atomics to add to, laid out like an output that follows this tensor."""
    return torch.zeros_like(like, dtype=dtype, memory_format=memory_format_of(like))


def grid(images: int, pixels: int, block: int) -> tuple[int]:
    """A program for each block of pixels of each image, along the first axis: the others of a grid end at 65535."""
    return (images * triton.cdiv(pixels, block),)


def tuned(configurations: list[dict[str, int]], key: list[str]) -> Any:
    """``triton.autotune`` over blocks and warps, for kernels whose result does not depend on the choice.

    Kernels that sum over pixels are not tuned: their rounding would depend on timing. The interpreter cannot measure
    and takes the first configuration. The choice is cached on disk, next to the compiled kernels.
    """
    offered = configurations[:1] if INTERPRETED else configurations
    chosen = [_configuration(**one) for one in offered]
    return triton.autotune(chosen, key=key, do_bench=_measure, cache_results=True)


def _measure(call: Callable[[], Any], quantiles: Sequence[float]) -> Any:
    """Triton's own measurement, if one is possible.

    Raises:
        RuntimeError: a CUDA graph is being captured; measuring would break the capture.
    """
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "a Triton kernel meets a shape for the first time while a CUDA graph is captured, and cannot be tuned for "
            "it there: run the step once, on these shapes, before the capture"
        )
    return triton.runtime.driver.active.get_benchmarker()(call, quantiles=quantiles)


def _configuration(warps: int, **blocks: int) -> triton.Config:
    return triton.Config(blocks, num_warps=warps)
