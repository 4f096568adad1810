"""The dictionary that a model returns; values that only a visualiser reads are computed when they are read."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor

from internet.utils.torch_internals import inside_jit_trace, register_container, versions


class Outputs(dict[str, Any]):
    """A dictionary, some of whose values are computed when they are first read.

    They are computed as they would have been at once: with or without gradients, in the precision of autocast. Copies,
    pickles and the results that DataParallel gathers hold the values themselves. When a model is compiled, exported or
    traced, all are computed at once.
    """

    def later(self, name: str, make: Callable[[], Any], *, of: Tensor | None = None) -> None:
        """Hold a value that `make` returns when it is read.

        Args:
            name: of the value.
            make: computes it.
            of: a tensor of the caller's that it is made of. Asking for the value after a write to that tensor is a
                RuntimeError.
        """
        super().__setitem__(name, make() if _is_recorded() else _Later(name, make, of))

    def share(self, other: dict[str, Any], *names: str) -> None:
        """Hold some values of another dictionary, without computing those that it has not computed."""
        for name in names:
            if name in other:
                super().__setitem__(name, dict.__getitem__(other, name))

    def returned(self) -> dict[str, Any]:
        """Itself; while a graph is recorded, a plain dictionary, the only kind that recorders know."""
        return self._made() if _is_recorded() else self

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, _Later):
            value = value.made()
            super().__setitem__(name, value)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  # this is what it asks for

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self[name]
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else super().setdefault(name, default)

    def values(self) -> Any:
        return self._made().values()

    def items(self) -> Any:
        return self._made().items()

    def copy(self) -> dict[str, Any]:
        return self._made().copy()

    def __iter__(self) -> Iterator[str]:
        """Defined so that `dict(outputs)` and `{**outputs}` read through `__getitem__`."""
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        return self._made() == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self._made())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._made(),)

    def _made(self) -> dict[str, Any]:
        return {name: self[name] for name in self}


register_container(
    Outputs, lambda outputs: (list(outputs.values()), list(outputs)), lambda v, k: dict(zip(k, v, strict=True))
)


def _is_recorded() -> bool:
    return torch.compiler.is_compiling() or inside_jit_trace()


class _Later:
    """A value that has not been computed, and the state of torch to compute it in."""

    def __init__(self, name: str, make: Callable[[], Any], of: Tensor | None) -> None:
        self._name, self._make, self._of = name, make, of
        self._versions = () if of is None else versions(of)
        self._gradients = torch.is_grad_enabled()
        self._autocast = [
            (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")
        ]

    def made(self) -> Any:
        if self._of is not None and versions(self._of) != self._versions:
            raise RuntimeError(
                f"'{self._name}' is computed when it is read, and the image that it is computed from has been written "
                "to since the model was called; read it before that"
            )
        contexts: list[AbstractContextManager[Any]] = [torch.set_grad_enabled(self._gradients)]
        contexts += [torch.autocast(device, dtype, enabled) for device, enabled, dtype in self._autocast]
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            return self._make()
