"""The operators as tracing sees them: shapes, dtypes and layouts of the results, without values."""

from collections.abc import Callable
from typing import Any

import torch

from internet.utils import library

by_name: dict[str, Callable[..., Any]] = {}
"""The functions given to `register_fake`, also used for the operators of other namespaces."""


def register_fake(operator: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the fake of an operator. Without the compiled library there is no operator to trace."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        by_name[operator] = function
        if "_C" in library.loaded:
            torch.library.register_fake(f"internet::{operator}", function)
        return function

    return register
