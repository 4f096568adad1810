"""Our backends on a device, and an operator served by one of them."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from internet import ops


def backends(device: torch.device) -> list[str]:
    """The backends available for tensors on this device, the library's first choice first."""
    wanted = ("cuda", "triton") if device.type == "cuda" else ("cpu",)
    return [name for name in wanted if ops.backends()[name].ready]


def on_backend(operator: str, backend: str) -> Callable[..., Any]:
    """The operator on a given backend, whichever the library would choose."""
    function = getattr(ops, operator)

    @functools.wraps(function)
    def call(**inputs: Any) -> Any:
        with ops.backend(backend):
            return function(**inputs)

    return call
