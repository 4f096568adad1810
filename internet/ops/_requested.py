"""The requested backend: by ``with backend(name):``, or for a whole run by INTERNET_BACKEND."""

import os
import threading
from collections.abc import Iterator
from contextlib import ContextDecorator
from contextvars import ContextVar
from types import TracebackType
from weakref import WeakKeyDictionary

import torch

from internet.ops._status import check_ready
from internet.utils.torch_internals import checkpointed_region, inside_jit_trace, saves_through_hooks, saving_hooks


def _from_environment() -> tuple[str, ...]:
    name = os.environ.get("INTERNET_BACKEND")
    if not name:
        return ()
    check_ready(name, "INTERNET_BACKEND")
    return (name,)


_FOR_A_RUN = _from_environment()
_names: ContextVar[tuple[str, ...]] = ContextVar("internet.ops.backend", default=_FOR_A_RUN)
"""The requested backends, the innermost last. A tuple, so that no context can change what another one sees."""


class _Traced(threading.local):
    """The same names for Dynamo, which can neither trace a ContextVar nor use one as a guard."""

    def __init__(self) -> None:
        self.names = _names.get()


_traced = _Traced()


class backend(ContextDecorator):  # noqa: N801 (named like torch.no_grad)
    """Context manager, and decorator of a function, that makes every operator use one backend.

    ``with internet.ops.backend("reference"): ...``. The environment variable ``INTERNET_BACKEND`` does the
    same for a whole run. By default, each call uses the fastest backend for its device.

    The choice applies to the thread, or the asyncio task, that enters the context. Contexts can be nested, and the same
    object can be entered repeatedly, even recursively. A backward pass uses the backend of its forward pass, and so
    does a recomputation by ``torch.utils.checkpoint(use_reentrant=False)``. (With ``use_reentrant=True`` a
    recomputation looks like any other call, so enter the context inside the checkpointed function.) ``torch.jit.trace``
    records the reference, which is differentiable, unless a compiled backend is requested, which is recorded without
    gradients. `torch.onnx.export` always uses the reference: only that consists of operators that ONNX has.

    Args:
        name: "reference", "cpu", "cuda" or "triton".

    Raises:
        ValueError: `name` is none of these.
        RuntimeError: the backend is not available here; the message says why.
    """

    def __init__(self, name: str) -> None:
        check_ready(name, "backend")
        self.name = name

    def __enter__(self) -> None:
        if not torch.compiler.is_compiling():
            _names.set((*_names.get(), self.name))
        _traced.names = (*_traced.names, self.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if torch.compiler.is_compiling():
            _traced.names = _traced.names[:-1]
        else:
            _names.set(_names.get()[:-1])
            _traced.names = _names.get()


def asked_for() -> str | None:
    """The backend that this call has to use; None for the fastest on its device."""
    if torch.compiler.is_compiling():
        if torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export():
            return "reference"
        return _traced.names[-1] if _traced.names else None
    names = _names.get()
    name = names[-1] if names else None
    if inside_jit_trace() and (name is None or torch.onnx.is_in_onnx_export()):
        name = "reference"
    return _as_the_first_time(name) if saves_through_hooks() else name


_calls: WeakKeyDictionary[object, list[str | None]] = WeakKeyDictionary()
"""For each checkpointed region, what was requested at each call of an operator in it."""

_replays: WeakKeyDictionary[object, Iterator[str | None]] = WeakKeyDictionary()
"""For the saving hook of each recomputation, the remaining part of that list."""


def _as_the_first_time(name: str | None) -> str | None:
    """`name`, except during the recomputation of a checkpointed region: then what was requested the first time.

    The calls of a region come in the same order both times, whatever contexts they are in, so it is enough to count
    them. Regions can be nested: a call is recorded for each region around it, and follows the outermost recomputed one.
    """
    regions = []
    for hook in saving_hooks():
        region, again = checkpointed_region(hook)
        if again:
            if hook not in _replays:
                _replays[hook] = iter(_calls.get(region, ()))
            name = next(_replays[hook], name)
        elif region is not None:
            regions.append(region)
    for region in regions:
        _calls.setdefault(region, []).append(name)
    return name
