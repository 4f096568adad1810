"""Uninitialised results of operators, with the dtypes and layouts that all implementations agree on."""

import torch
from torch import Tensor

from internet.utils.torch_internals import inside_functorch


def motion_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of coordinates and sums for data of this dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def memory_format_of(data: Tensor) -> torch.memory_format:
    """The layout of a result that follows `data`: channels last if `data` is unambiguously so, otherwise contiguous."""
    # like is_contiguous(memory_format=channels_last), which vmap does not support
    channels_last = data.movedim(1, -1).is_contiguous() and not data.is_contiguous()
    if not channels_last or (not torch.compiler.is_compiling() and inside_functorch()):  # vmap has no such layout
        return torch.contiguous_format
    return torch.channels_last if data.dim() == 4 else torch.channels_last_3d


def empty(like: Tensor) -> Tensor:
    """What an operator returns instead of a tensor that was not requested."""
    return like.new_empty(0)


def like_or_empty(tensor: Tensor, needed: bool) -> Tensor:
    """The gradient of a coordinate tensor, contiguous; empty unless needed."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format) if needed else empty(tensor)


def dense_like(tensor: Tensor) -> Tensor:
    """A result in the shape, dtype and layout of a data tensor."""
    return torch.empty_like(tensor, memory_format=memory_format_of(tensor))
