"""What tracing sees of the operators: their results' shapes, dtypes and layouts, without values."""

from collections.abc import Callable
from typing import Any

import torch

from internet.utils import library

by_name: dict[str, Callable[..., Any]] = {}
"""What was given to `register_fake`. The operators of other namespaces have the same."""


def register_fake(operator: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the fake of an operator; without the compiled library nothing traces it."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        by_name[operator] = function
        if "_C" in library.loaded:
            torch.library.register_fake(f"internet::{operator}", function)
        return function

    return register
