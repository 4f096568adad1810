"""Reads numpy's numbers in a file of weights without numpy's own unpickling and without running code of the file.

Training scripts store them next to the weights: a learning rate, a best loss. ``torch.load(weights_only=True)`` rejects
them, and allowing numpy's functions there would let a file choose their arguments.
"""

import re
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

#: The codes of boolean, integer, floating-point and complex types.
_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")


class _NumberType:
    """Stands for numpy.dtype in a pickle: constructed from its code, then given its byte order as its state."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise ValueError(f"the file holds a value of numpy's type {code!r}, expected a number's")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _number(kind: _NumberType, data: bytes) -> Any:
    """Like numpy's own `scalar`, which takes a type and bytes, but returns a Python number."""
    if not isinstance(kind, _NumberType) or len(data) != kind.dtype.itemsize:
        raise ValueError("the file holds a number of numpy's that is damaged")
    return np.frombuffer(data, kind.dtype)[0].item()


#: Replacements for names in a pickle; the module was renamed in numpy 2.
_STAND_INS = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def numpy_numbers() -> AbstractContextManager[None]:
    """A context in which ``torch.load(weights_only=True)`` also accepts numpy's numbers, and returns Python's."""
    allowed: AbstractContextManager[None] = torch.serialization.safe_globals(_STAND_INS)  # type: ignore[arg-type]
    return allowed
