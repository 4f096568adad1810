"""Let a whole model call other functions where it calls `internet.ops`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from internet import ops


@contextmanager
def replaced_operators(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Meanwhile `internet.ops` has these functions under these names. Not for several threads at once."""
    ours = {name: getattr(ops, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(ops, name, function)
        yield
    finally:
        for name, function in ours.items():
            setattr(ops, name, function)
