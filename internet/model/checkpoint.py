"""A model on disk: one dictionary with everything to build it again, whether training wrote it or a user.

==============  ==============================================================
format          "internet-checkpoint"
version         1; a reader refuses what is newer than it
model_config    :meth:`INTERnetConfig.to_dict`
model           the model's state
ema             the state with weights averaged over training, or None
==============  ==============================================================

A trainer adds entries of its own, left alone here. All of it is tensors and plain types: reading runs no code.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from internet.model.config import INTERnetConfig
from internet.model.internet import INTERnet
from internet.model.weights import check_weights, read_weights
from internet.utils.files import save_tensors

FORMAT, VERSION = "internet-checkpoint", 1

#: Where the newest checkpoint of a training folder lies.
NEWEST = (Path("checkpoints", "last.pt"), Path("last.pt"))


def checkpoint_of(model: INTERnet, ema: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The entries that every checkpoint has."""
    averaged = None if ema is None else dict(ema)
    state = dict(model.state_dict())
    return {
        "format": FORMAT,
        "version": VERSION,
        "model_config": model.config.to_dict(),
        "model": state,
        "ema": averaged,
    }


def save_model(path: str | os.PathLike[str], model: INTERnet) -> None:
    """Write a model for :func:`load_model`, in one step: `path` is never half written.

    Raises :class:`~internet.utils.files.OutputError` if it cannot be written.
    """
    save_tensors(path, checkpoint_of(model))


def load_model(path: str | os.PathLike[str], *, device: str | torch.device = "cpu", ema: bool = True) -> INTERnet:
    """The model of a checkpoint, in evaluation mode.

    Args:
        path: a checkpoint, or the folder of a training run, whose newest it takes.
        device: where the model goes.
        ema: take the averaged weights, where the checkpoint has them.

    Raises:
        OSError: the file cannot be read, or the folder has no checkpoint.
        ValueError: it is no checkpoint, or a damaged one, or its weights do not fit its model; the message names them.
    """
    path = find_checkpoint(path)
    return build_model(read_checkpoint(path), path, ema=ema).to(device)


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """A file as it is; of a training run's folder the newest checkpoint. FileNotFoundError if it has none."""
    path = Path(path)
    if not path.is_dir():
        return path
    for newest in NEWEST:
        if (path / newest).is_file():
            return path / newest
    raise FileNotFoundError(f"the folder '{path}' has no checkpoint: neither {' nor '.join(map(str, NEWEST))}")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All entries of a checkpoint; ValueError for a file that is none, or that a newer version wrote."""
    checkpoint = read_weights(path)
    if checkpoint.get("format") != FORMAT:
        raise ValueError(f"'{path}' is no checkpoint of this library: {_what_else(checkpoint)}")
    version = checkpoint["version"]
    if version > VERSION:
        raise ValueError(
            f"'{path}' is a checkpoint of version {version}, this library reads up to {VERSION}: update it"
        )
    return checkpoint


def build_model(checkpoint: Mapping[str, Any], origin: str | os.PathLike[str], *, ema: bool = True) -> INTERnet:
    """The model of what :func:`read_checkpoint` read from `origin`, in evaluation mode, on the CPU."""
    try:
        config = INTERnetConfig.from_dict(checkpoint["model_config"])
    except ValueError as error:
        raise ValueError(f"the model_config of '{origin}' does not fit: {error}") from error
    with torch.device("meta"):  # no time for initial weights, and no random numbers taken
        model = INTERnet(config)
    averaged = checkpoint.get("ema") if ema else None
    weights: dict[str, Tensor] = checkpoint["model"] if averaged is None else averaged
    check_weights(weights, model.state_dict(), f"'{origin}'")
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _what_else(content: Mapping[str, Any]) -> str:
    """What a file without the format's name seems to be."""
    if all(str(name).startswith(("kp_detector.", "dense_motion_network.")) for name in content) and content:
        return "it holds the stage I that `internet import-fomm` writes, from which training can start"
    if {"kp_detector", "generator"} <= content.keys():
        return "first-order-motion wrote it; `internet import-fomm` takes its stage I"
    return f"its format is {content.get('format')!r}, expected {FORMAT!r}"
