"""numpy's numbers in a file of weights, read without numpy's own unpickling and without running code of the file.

Training scripts store them beside the weights: a learning rate, a best loss. ``torch.load(weights_only=True)`` refuses
them, and to allow numpy's functions there would let a file choose their arguments.
"""

import re
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

#: The codes of truth values, whole numbers and numbers with a fraction, complex ones included.
_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")


class _NumberType:
    """What numpy.dtype is in a pickle: made of its code, then told its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise ValueError(f"the file holds a value of numpy's type {code!r}, expected a number's")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _number(kind: _NumberType, data: bytes) -> Any:
    """What numpy's own `scalar` makes of a type and bytes, as Python's number."""
    if not isinstance(kind, _NumberType) or len(data) != kind.dtype.itemsize:
        raise ValueError("the file holds a number of numpy's that is damaged")
    return np.frombuffer(data, kind.dtype)[0].item()


#: What stands for which name in a pickle; the module was renamed in numpy 2.
_STAND_INS = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def numpy_numbers() -> AbstractContextManager[None]:
    """Within it, ``torch.load(weights_only=True)`` takes numpy's numbers, too, and gives Python's."""
    allowed: AbstractContextManager[None] = torch.serialization.safe_globals(_STAND_INS)  # type: ignore[arg-type]
    return allowed
