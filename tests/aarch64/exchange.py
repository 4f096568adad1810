"""Calls of operators as a file that `program.cpp` reads, and its results.

Numbers are of eight bytes, texts and lists begin with their length. A call is its operator's name and the list of its
arguments, each after a letter for its type. A tensor is the number of its dtype, its sizes and strides, and its memory
from the first element to the last, gaps included. The results are tensors, one after the other.
"""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

DTYPES = {5: torch.float16, 6: torch.float32, 7: torch.float64, 15: torch.bfloat16}
"""Dtypes by torch's numbers for them."""
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}

Call = tuple[str, Sequence[Any]]


def _numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def _extent(sizes: Sequence[int], strides: Sequence[int]) -> int:
    if 0 in sizes:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))


def _tensor(tensor: Tensor) -> bytes:
    sizes, strides = tensor.shape, tensor.stride()
    memory = tensor.as_strided((_extent(sizes, strides),), (1,)).view(torch.uint8)
    return _numbers(_NUMBERS[tensor.dtype], len(sizes), *sizes, *strides) + memory.numpy().tobytes()


def _value(value: Any) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, Tensor):
        return b"t" + _tensor(value)
    if isinstance(value, bool):
        return b"b" + struct.pack("?", value)
    if isinstance(value, float):
        return b"d" + struct.pack("<d", value)
    if isinstance(value, str):
        return b"s" + _numbers(len(value)) + value.encode()
    if value and isinstance(value[0], bool):
        return b"B" + _numbers(len(value)) + struct.pack(f"{len(value)}?", *value)
    return b"T" + _numbers(len(value)) + b"".join(map(_tensor, value))


def written(calls: Sequence[Call]) -> bytes:
    """The content of a file with these calls."""
    parts = [_numbers(len(calls))]
    for name, arguments in calls:
        parts += [_numbers(len(name)), name.encode(), _numbers(len(arguments)), *map(_value, arguments)]
    return b"".join(parts)


def read(results: bytes) -> list[Tensor]:
    """The tensors of a file of results."""
    file, tensors = BytesIO(results), []

    def numbers(count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}q", file.read(8 * count))

    while head := file.read(16):
        number, dims = struct.unpack("<2q", head)
        sizes, strides = numbers(dims), numbers(dims)
        count = _extent(sizes, strides)
        memory = torch.frombuffer(bytearray(file.read(count * DTYPES[number].itemsize) or 8), dtype=DTYPES[number])
        tensors.append(memory.as_strided(sizes, strides))
    return tensors
