"""Registers the operators of this folder as ``torch.ops.internet_triton.*``."""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import triton
from torch import Tensor

from internet.ops import fakes
from internet.utils.torch_internals import leaves

NAMESPACE = "internet_triton"
INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on CPU tensors: TRITON_INTERPRET=1 when triton was imported."""

_library = torch.library.Library(NAMESPACE, "DEF")
_F = TypeVar("_F", bound=Callable[..., Any])


def operator(function: _F) -> _F:
    """Register a function of canonical tensors by its name; its annotations are the schema.

    Arguments and results are those of the operator of the same name in csrc/schema.cpp, and so is the fake that
    tracing sees.
    """
    name = function.__name__
    _library.define(name + torch.library.infer_schema(function, mutates_args=()))
    _library.impl(name, _on_device_of_arguments(function), "CUDA")
    if INTERPRETED:
        _library.impl(name, function, "CPU")
    torch.library.register_fake(f"{NAMESPACE}::{name}", lambda *args: fakes.by_name[name](*args), lib=_library)
    return function


def _on_device_of_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the device of the tensors current: Triton launches on the current device, which may be another."""

    @functools.wraps(function)
    def guarded(*args: Any) -> Any:
        device = next(leaf.device for leaf in leaves(*args) if isinstance(leaf, Tensor))
        elsewhere = device.index != torch.cuda.current_device()
        with torch.cuda.device(device) if elsewhere else contextlib.nullcontext():
            return function(*args)

    return guarded


def alert_not_deterministic(operator: str) -> None:
    """What torch does if deterministic algorithms are required and there is none: raise an error, or warn."""
    message = (
        f"internet.ops.{operator}: the triton backend adds up the gradient of the sampled tensor with atomics, in no "
        'fixed order. The backends "cuda" and "reference" follow torch.use_deterministic_algorithms(True) as far as '
        "they can; warn_only=True makes this a warning"
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=2)
