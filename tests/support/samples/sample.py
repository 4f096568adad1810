"""A call of an operator with its arguments, which tests pass on, change and compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

import internet

Size = tuple[int, ...]
"""Height and width, or depth, height and width for a volume."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call: by position, and by name."""


@dataclass(frozen=True)
class Sample:
    """A call of an operator: `getattr(internet.ops, operator)(*args, **kwargs)`."""

    operator: str
    note: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operator}: {self.note}"

    def __call__(self) -> Any:
        """The operator's result, with the selected backend."""
        return getattr(internet.ops, self.operator)(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments, in order, including those in lists."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Sample":
        """The same call with other tensors instead of `tensors()`."""
        leaves, structure = pytree.tree_flatten((self.args, self.kwargs))
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return Sample(self.operator, self.note, *pytree.tree_unflatten(leaves, structure))

    def map(self, function: Callable[[Tensor], Tensor]) -> "Sample":
        """The same call with `function` applied to each tensor."""
        return self.with_tensors([function(tensor) for tensor in self.tensors()])

    def upcast(self) -> "Sample":
        """The same numbers in float64, contiguous, in fresh memory: the input of the reference."""
        return self.map(lambda tensor: tensor.detach().cpu().double().contiguous().clone())
