"""Weights on disk: read without running code, and checked so that every misfit is named."""

import os
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def read_weights(path: str | os.PathLike[str], *, trust: bool = False) -> dict[str, Any]:
    """What ``torch.save`` wrote: a dictionary of tensors, plain types and such dictionaries.

    With `trust` a file that holds more is unpickled too, which runs what code it contains. Raises OSError for a file
    that cannot be read, ValueError for one that is damaged or holds something else.
    """
    if zipfile.is_zipfile(path) and (reason := damage(path)):  # before torch 1.6 it was no ZIP archive
        raise ValueError(f"'{path}' is damaged: {reason}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=not trust)
    except OSError:
        raise
    except Exception as error:  # bytes that are taken for a pickle, and are none, raise almost anything
        reason = (str(error) or "it is empty").splitlines()[0]
        raise ValueError(
            f"'{path}' is no complete file of weights, or holds more than tensors and plain types, whose reading runs "
            f"code from the file and must be asked for ({reason})"
        ) from error
    if not isinstance(weights, dict):
        raise ValueError(f"'{path}' holds a {type(weights).__name__}, expected weights by their names")
    return weights


def damage(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with a file of weights, or None. It is a ZIP archive, whose checksums torch does not look at.

    Raises OSError for a file that cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # a changed byte may ask for any compression, or for a password
        return str(error)
    return None if broken is None else f"the checksum of {broken} is wrong"


def check_weights(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str, *, spare: bool = False
) -> None:
    """Raise a ValueError that names what is missing, of a wrong shape or, unless `spare` is allowed, unknown.

    origin: what the weights are of, for the message.
    """
    complaints = [f"missing: {name}" for name in expected if name not in weights]
    complaints += [] if spare else [f"unknown: {name}" for name in weights if name not in expected]
    complaints += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if complaints:
        raise ValueError(f"the weights of {origin} do not fit:\n  " + "\n  ".join(complaints))
