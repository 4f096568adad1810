"""Checks that are made once: for a small call, they are most of what Python costs."""

import functools
from collections.abc import Callable
from operator import is_
from typing import Any

import torch
from torch import Tensor

from internet.utils.torch_internals import inside_jit_trace

MOST = 1024
"""How many signatures of an operator are remembered; then they are forgotten, all at once."""


def once_a_signature(check: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Decorator of a check, which returns its arguments as the operator takes them, or raises.

    Where arguments came out as they went in, others of the same shapes, dtypes, devices and options do, too, and are
    not checked again. What is traced always is: its shapes are those of a graph.
    """
    accepted: set[tuple[Any, ...]] = set()

    @functools.wraps(check)
    def checked(*arguments: Any) -> tuple[Any, ...]:
        if torch.compiler.is_compiling() or inside_jit_trace():
            return check(*arguments)
        # a list in half of the time of a generator
        signature = tuple([(type(a), a.shape, a.dtype, a.device) if isinstance(a, Tensor) else a for a in arguments])
        try:
            if signature in accepted:
                return arguments
        except TypeError:  # what cannot be hashed, such as a shape with symbols
            return check(*arguments)
        result = check(*arguments)
        if all(map(is_, result, arguments)):
            if len(accepted) >= MOST:
                accepted.clear()
            accepted.add(signature)
        return result

    return checked
