"""Make a whole model call other functions instead of those in `internet.ops`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from internet import ops


@contextmanager
def replaced_operators(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """A context in which `internet.ops` has these functions under these names. Not thread-safe."""
    ours = {name: getattr(ops, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(ops, name, function)
        yield
    finally:
        for name, function in ours.items():
            setattr(ops, name, function)
