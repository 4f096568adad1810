"""Weights on disk: read without running code, and checked with a message that names every mismatch."""

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from internet.model import safetensors_file
from internet.model.numpy_numbers import numpy_numbers
from internet.utils.files import check_regular, save_tensors

#: How torch names a class or function that it refuses.
_REFUSED = re.compile(r"GLOBAL (\S+) (?:was not an allowed global|whose module)")


def read_weights(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file that ``torch.save`` or safetensors wrote: tensors, plain types and dictionaries of these.

    A safetensors file gives its tensors by their names; see :mod:`internet.model.safetensors_file` for its header.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or holds something else.
        MissingExtraError: it is a safetensors file, and the package that reads them is not installed.
    """
    if safetensors_file.recognises(path):
        return dict(safetensors_file.read(path).tensors)
    return read_torch_file(path)


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`read_weights` does for a file that ``torch.save`` wrote."""
    check_regular(path)
    if _is_archive(path) and (reason := find_corruption(path)):
        raise ValueError(f"'{path}' is damaged: {reason}")
    try:
        with numpy_numbers(), open(path, "rb") as stream:  # given a path, torch would choose by its suffix
            weights = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are not a pickle raise almost anything
        if refused := _REFUSED.search(str(error)):
            raise ValueError(
                f"'{path}' holds more than tensors, numbers and plain types, and to read its {refused[1]} would run "
                "code that the file names. Where you trust it, load it with torch and save the weights alone"
            ) from error
        reason = (str(error).rpartition("WeightsUnpickler error: ")[2].strip() or "it is empty").splitlines()[0]
        raise ValueError(f"'{path}' is not a complete file of weights ({reason})") from error
    if not isinstance(weights, dict):
        raise ValueError(f"'{path}' holds a {type(weights).__name__}, expected weights by their names")
    return weights


def write_weights(path: str | os.PathLike[str], weights: Mapping[str, Tensor]) -> None:
    """Write tensors by their names for :func:`read_weights`: as safetensors if the suffix says so.

    Raises :class:`~internet.utils.files.OutputError` if they cannot be written.
    """
    if Path(path).suffix == safetensors_file.SUFFIX:
        safetensors_file.write(path, weights, {})
    else:
        save_tensors(path, dict(weights))


def find_corruption(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a file that ``torch.save`` wrote, or None, by its checksums, which torch does not verify.

    Raises OSError for a file that cannot be read.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:  # a changed byte may require any compression, a password, or a position before 0
        reason = str(error) or type(error).__name__
        return "its end is missing" if reason == "File is not a zip file" and _is_archive(path) else reason
    return None if broken is None else f"the checksum of {broken} is wrong"


def is_before_torch_1_6(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the first format of ``torch.save``, the default until version 1.6."""
    return not (_is_archive(path) or safetensors_file.recognises(path))


def _is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like the ZIP archives that torch has written since version 1.6."""
    with open(path, "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def check_weights(
    weights: Mapping[str, Any], expected: Mapping[str, Tensor], origin: str, *, spare: bool = False
) -> None:
    """Raise a ValueError that names what is missing, of a wrong shape or kind or, unless `spare` is allowed, unknown.

    origin: where the weights come from, for the message.
    """
    complaints = [f"missing: {name}" for name in expected if name not in weights]
    complaints += [] if spare else [f"unknown: {name}" for name in weights if name not in expected]
    for name, value in expected.items():
        if name in weights and (misfit := _misfit(weights[name], value)):
            complaints.append(f"{name} is {misfit}")
    if complaints:
        raise ValueError(f"the weights of {origin} do not fit:\n  " + "\n  ".join(complaints))


def as_expected(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the expected dtypes: weights are often stored in float16, while networks start in float32.

    Weights with other names are left out. :func:`check_weights` must have accepted them.
    """
    return {name: weights[name].to(value.dtype) for name, value in expected.items()}


def load_weights(
    module: nn.Module, weights: Mapping[str, Any], origin: str, *, spare: bool = False, assign: bool = False
) -> None:
    """Load all weights of a module, stored in any precision, into it.

    Args:
        module: what they are loaded into.
        weights: by their names.
        origin: where they come from, for the message.
        spare: whether there may be others, which are left out.
        assign: as for ``load_state_dict``.

    Raises:
        ValueError: some do not fit; the message names each.
    """
    expected = module.state_dict()
    check_weights(weights, expected, origin, spare=spare)
    module.load_state_dict(as_expected(weights, expected), assign=assign)


def _misfit(found: Any, expected: Tensor) -> str:
    """What a weight is and what was expected; empty if it can be used."""
    if not isinstance(found, Tensor):
        return f"a {type(found).__name__}, expected a tensor"
    if found.layout != torch.strided or found.is_quantized or found.is_meta:
        return "sparse, quantized or without values, expected a dense tensor"
    if found.shape != expected.shape:
        return f"{tuple(found.shape)}, expected {tuple(expected.shape)}"
    if found.is_complex() or (expected.is_floating_point() and not found.is_floating_point()):
        return f"{found.dtype}, expected {expected.dtype}"
    return ""
