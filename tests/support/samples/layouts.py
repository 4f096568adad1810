"""Memory layouts of tensors. Memory outside the tensor is NaN, so that tests notice when it is read."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _strided(tensor: Tensor) -> Tensor:
    """Every second element of a larger tensor, not at its start; the others are NaN and must not be read."""
    shape = [2 * size + 1 for size in tensor.shape]
    larger = torch.full(shape, math.nan, dtype=tensor.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in shape)]
    return view.copy_(tensor)


def _transposed(tensor: Tensor) -> Tensor:
    """The last two axes are swapped in memory."""
    return tensor.mT.contiguous().mT


def _expanded(tensor: Tensor) -> Tensor:
    """A single batch entry in memory, repeated with stride 0."""
    return tensor[:1].expand_as(tensor)


def _channels_last(tensor: Tensor) -> Tensor:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.contiguous(memory_format=formats.get(tensor.dim(), torch.contiguous_format))


def _offset(tensor: Tensor) -> Tensor:
    """Contiguous, but shifted by one element from aligned memory."""
    memory = torch.full((tensor.numel() + 1,), math.nan, dtype=tensor.dtype)
    return memory[1:].view(tensor.shape).copy_(tensor)


def _sliced(tensor: Tensor) -> Tensor:
    """The first channels of a tensor with more; the others are NaN."""
    return torch.cat([tensor, torch.full_like(tensor, math.nan)], 1)[:, : tensor.shape[1]]


def _sliced_channels_last(tensor: Tensor) -> Tensor:
    """All channels but the last; its values are NaN."""
    return _channels_last(torch.cat([tensor, torch.full_like(tensor[:, :1], math.nan)], 1))[:, : tensor.shape[1]]


def _offset_channels_last(tensor: Tensor) -> Tensor:
    order = (0, *range(2, tensor.dim()), 1)
    return _offset(tensor.permute(order)).permute(0, -1, *range(1, tensor.dim() - 1))


def _cropped(tensor: Tensor) -> Tensor:
    """All columns but the last; its values are NaN."""
    return torch.cat([tensor, torch.full_like(tensor[..., :1], math.nan)], -1)[..., : tensor.shape[-1]]


def _cropped_channels_last(tensor: Tensor) -> Tensor:
    """The first columns of a wider tensor; the others are NaN."""
    return _channels_last(torch.cat([tensor, torch.full_like(tensor, math.nan)], -1))[..., : tensor.shape[-1]]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": _channels_last,
    "strided": _strided,
    "transposed": _transposed,
    "expanded": _expanded,
    "offset": _offset,
    "offset channels_last": _offset_channels_last,
    "sliced": _sliced,
    "sliced channels_last": _sliced_channels_last,
    "cropped": _cropped,
    "cropped channels_last": _cropped_channels_last,
}

LAID_OUT: dict[str, dict[str, Any]] = {
    f"{layout} tensors": {"layout": layout} for layout in (*LAYOUTS, "mixed") if layout != "contiguous"
}
"""The parameters of a sample in each layout except the usual one, by name."""
