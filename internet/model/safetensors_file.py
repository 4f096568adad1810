"""Models as safetensors: weights that other tools can read, and their description as JSON strings in the header.

==============  ==============================================================
format          "internet-checkpoint"
version         of the format, as in :mod:`internet.model.checkpoint`
architecture    which model it is, as there
model_config    its settings
metadata        further information from the writer: a dictionary of plain types
sha256          of the bytes after the header, for which the format has no checksum of its own
==============  ==============================================================
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from internet.utils.files import atomic_write, check_regular
from internet.utils.optional import require

SUFFIX = ".safetensors"

#: The file begins with the header's length, a number of this many bytes.
_LENGTH = 8
#: The checksum's name among the header's entries.
_CHECKSUM = "sha256"


class Content(NamedTuple):
    """The tensors of a file by their names, and the entries of its header, parsed."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]


def recognises(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as safetensors do, or has their suffix and is not torch's; OSError if it cannot be read."""
    check_regular(path)
    with open(path, "rb") as stream:
        start = stream.read(_LENGTH + 1)
    return start[_LENGTH:] == b"{" or (Path(path).suffix == SUFFIX and not start.startswith(b"PK"))


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and the entries of the header, all or nothing.

    Raises:
        OutputError: the file cannot be written.
        ValueError: an entry of the header is more than plain types.
        MissingExtraError: the package safetensors is not installed.
    """
    save = require("safetensors.torch", "writing a safetensors file").save
    try:
        entries = {name: json.dumps(value, allow_nan=False) for name, value in header.items()}
    except TypeError as error:
        raise ValueError(f"the header of '{path}' takes plain types alone: {error}") from error
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # the order of the tensors' bytes does not depend on the header
    entries[_CHECKSUM] = json.dumps(hashlib.sha256(_data(save(plain))).hexdigest())
    atomic_write(path, save(plain, metadata=entries))


def read(path: str | os.PathLike[str]) -> Content:
    """Read a file that :func:`write` or another program wrote; the checksum is verified if there is one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or not a safetensors file.
        MissingExtraError: the package safetensors is not installed.
    """
    load = require("safetensors.torch", "reading a safetensors file").load
    content = Path(path).read_bytes()
    try:
        tensors: dict[str, Tensor] = load(content)
        header = _header(content)
    except Exception as error:  # a changed byte in the header may raise anything
        raise ValueError(f"'{path}' is damaged, or not a safetensors file: {error}") from error
    expected = header.pop(_CHECKSUM, None)
    if expected is not None and expected != hashlib.sha256(_data(content)).hexdigest():
        raise ValueError(f"'{path}' is damaged: its checksum is wrong")
    return Content(tensors, header)


def _header(content: bytes) -> dict[str, Any]:
    """The header's entries, parsed if they are JSON."""
    begin, end = _LENGTH, _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    return {name: _parsed(text) for name, text in json.loads(content[begin:end]).get("__metadata__", {}).items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _data(content: bytes) -> memoryview:
    """What follows the header."""
    return memoryview(content)[_LENGTH + int.from_bytes(content[:_LENGTH], "little") :]
