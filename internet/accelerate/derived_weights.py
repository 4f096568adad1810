"""Weights made of a module's own, in inference: made once, and again when those change."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from internet.accelerate.source_cache import Weights

Tensors = tuple[Tensor, ...]


class DerivedWeights:
    """What was made of the weights of some modules, until those change."""

    def __init__(self) -> None:
        self._entry: tuple[Weights, Tensors] | None = None

    def get(self, modules: Sequence[nn.Module], make: Callable[[], Tensors]) -> Tensors:
        entry = self._entry  # read once: another thread may replace it
        if entry is None or not entry[0].are_those_of(modules):
            entry = self._entry = (Weights(modules), make())
        return entry[1]

    def clear(self) -> None:
        self._entry = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles of a model make them anew."""
        return {"_entry": None}
