"""Weights computed from a module's own for inference: once, and again when those change."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from internet.accelerate.source_cache import Weights, settings

Tensors = tuple[Tensor, ...]


class DerivedWeights:
    """Tensors computed from the weights of some modules, kept until the weights or autocast change.

    They are computed in the precision of the weights and then rounded to that of autocast, once, not at every call. A
    compiled graph computes them at every call.
    """

    def __init__(self) -> None:
        self._entry: tuple[Weights, tuple[Any, ...], Tensors] | None = None

    def get(self, device: torch.device, modules: Sequence[nn.Module], make: Callable[[], Tensors]) -> Tensors:
        if torch.compiler.is_compiling():
            return _rounded_for_autocast(device, make)
        entry = self._entry  # read once: another thread may replace it
        if entry is None or entry[1] != settings(device) or not entry[0].are_those_of(modules):
            entry = self._entry = (Weights(modules), settings(device), _rounded_for_autocast(device, make))
        return entry[2]

    def clear(self) -> None:
        self._entry = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles of a model compute them again."""
        return {"_entry": None}


def _rounded_for_autocast(device: torch.device, make: Callable[[], Tensors]) -> Tensors:
    with torch.autocast(device.type, enabled=False):
        made = make()
    if not torch.is_autocast_enabled(device.type):
        return made
    dtype = torch.get_autocast_dtype(device.type)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in made)
