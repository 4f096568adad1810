"""A model on disk: everything that is needed to rebuild it, whether written by training or by a user.

A file written by ``torch.save`` contains one dictionary:

==============  ==============================================================
format          "internet-checkpoint"
version         3; readers reject newer versions
architecture    a name in :data:`ARCHITECTURES`; "internet" in files before version 3
model_config    :meth:`INTERnetConfig.to_dict`, or that of the architecture's settings
model           the model's state
ema             the state with weights averaged over training, or None
==============  ==============================================================

A trainer adds entries of its own, which are ignored here. Everything is tensors and plain types, so that reading runs
no code. A safetensors file has the model's state as its tensors, and the other entries in its header
(:mod:`internet.model.safetensors_file`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from internet import weights as shipped
from internet.model import safetensors_file
from internet.model.config import INTERnetConfig
from internet.model.first_order import FirstOrderConfig, FirstOrderMotion
from internet.model.internet import INTERnet
from internet.model.transfer import MotionTransfer
from internet.model.weights import load_weights, read_torch_file
from internet.utils.files import save_tensors
from internet.utils.run_checkpoints import CHECKPOINTS, LATEST, is_run, latest_checkpoint

FORMAT, VERSION = "internet-checkpoint", 3

#: The architectures of checkpoints, by name: their settings, and the model built from these.
ARCHITECTURES: dict[str, tuple[type[INTERnetConfig | FirstOrderConfig], type[INTERnet | FirstOrderMotion]]] = {
    INTERnet.architecture: (INTERnetConfig, INTERnet),
    FirstOrderMotion.architecture: (FirstOrderConfig, FirstOrderMotion),
}

#: The entries of every checkpoint and their types.
_ENTRIES: dict[str, type] = {"version": int, "architecture": str, "model_config": dict, "model": dict}


def checkpoint_of(model: MotionTransfer, ema: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The entries that every checkpoint has."""
    averaged = None if ema is None else dict(ema)
    return {**_description(model), "model": dict(model.state_dict()), "ema": averaged}


def save_model(
    path: str | os.PathLike[str], model: MotionTransfer, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a model for :func:`load_model`, in one step: `path` is never half written.

    Args:
        path: as safetensors if it ends with ".safetensors", else as ``torch.save`` does.
        model: on any device, in any mode.
        metadata: further information, plain types by name, such as how it was trained;
            `internet info --checkpoint` shows it.

    Raises:
        OutputError: the file cannot be written.
        ValueError: `metadata` is more than plain types, which a safetensors file cannot store.
        MissingExtraError: it is a safetensors file, and the package safetensors is not installed.
    """
    entries = {**_description(model), **({} if metadata is None else {"metadata": dict(metadata)})}
    if Path(path).suffix == safetensors_file.SUFFIX:
        safetensors_file.write(path, model.state_dict(), entries)
    else:
        save_tensors(path, {**checkpoint_of(model), **entries})


def load_model(path: str | os.PathLike[str], *, device: str | torch.device = "cpu", ema: bool = True) -> MotionTransfer:
    """The model of a checkpoint, in evaluation mode and in float32, whatever the precision it was stored in.

    Args:
        path: a checkpoint; the folder of a training run, for its newest one; or the name of weights that ship with the
            library (:mod:`internet.weights`).
        device: where the model goes.
        ema: take the averaged weights, if the checkpoint has them.

    Raises:
        OSError: the file cannot be read, or the folder has no checkpoint.
        ValueError: it is not a checkpoint, is damaged, or has weights that do not fit its model, which the message
            names.
        MissingExtraError: it is a safetensors file, and the package safetensors is not installed.
    """
    path = find_checkpoint(path)
    return build_model(read_checkpoint(path), path, ema=ema).to(device)


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint, given that file, a training run's folder or the name of weights that ship.

    A file or a folder of that name takes precedence. Raises FileNotFoundError if there is none of them.
    """
    name, path = os.fspath(path), Path(path)
    newest = latest_checkpoint(path) if path.is_dir() else path
    if newest is not None and (newest.exists() or newest.name != name):
        return newest
    if name in shipped.names() and not is_run(path):
        return shipped.find(name)
    if path.is_dir():
        raise FileNotFoundError(f"the folder '{path}' has no checkpoint: there is no {CHECKPOINTS}/{LATEST} in it")
    raise FileNotFoundError(
        f"there is no file or folder '{path}', and no weights of that name in the library; "
        f"it has {', '.join(shipped.names()) or 'none'}"
    )


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All entries of a checkpoint. Raises ValueError for a file that is not one, or has a newer version."""
    return checked_entries(read_entries(path), path)


def read_entries(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file that may be a checkpoint. For another safetensors file, its tensors by name.

    Raises what :func:`load_model` does for a file that cannot be read, or is damaged.
    """
    if not safetensors_file.recognises(path):
        return read_torch_file(path)
    tensors, header = safetensors_file.read(path)
    return {**header, "model": tensors, "ema": None} if header.get("format") == FORMAT else dict(tensors)


def checked_entries(entries: dict[str, Any], origin: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of a checkpoint, converted to this version. Raises ValueError if they are not a checkpoint's."""
    if entries.get("format") != FORMAT:
        raise ValueError(f"'{origin}' is not a checkpoint of this library: {_what_else(entries)}")
    version = entries.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(
            f"'{origin}' is a checkpoint of version {version}, this library reads up to {VERSION}: update it"
        )
    if isinstance(version, int) and version < 3:
        entries["architecture"] = INTERnet.architecture
    for name, kind in _ENTRIES.items():
        if not isinstance(entries.get(name), kind):
            raise ValueError(f"'{origin}' is damaged: its entry '{name}' is missing, or not a {kind.__name__}")
    for weights in (entries["model"], entries.get("ema") or {}):
        if not (isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values())):
            raise ValueError(f"'{origin}' is damaged: its weights are not all tensors")
    if entries["architecture"] not in ARCHITECTURES:
        raise ValueError(
            f"'{origin}' is of the architecture '{entries['architecture']}', expected {' or '.join(ARCHITECTURES)}"
        )
    if entries["version"] < 2:
        entries["model_config"] = from_version_1(entries["model_config"])
    return entries


def from_version_1(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings, renamed as in version 2."""
    names = {"stage1": "stage_one"}
    return {names.get(name, name): value for name, value in model_config.items()}


def build_model(checkpoint: Mapping[str, Any], origin: str | os.PathLike[str], *, ema: bool = True) -> MotionTransfer:
    """The model of a checkpoint that :func:`read_checkpoint` read from `origin`, in evaluation mode, on the CPU."""
    settings, architecture = ARCHITECTURES[checkpoint["architecture"]]
    try:
        config = settings.from_dict(checkpoint["model_config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"the model_config of '{origin}' does not fit: {error}") from error
    with torch.device("meta"):  # takes no time for initial weights, and no random numbers
        model: MotionTransfer = architecture(config)  # type: ignore[arg-type]  # its own settings
    load_weights(model, best_weights(checkpoint, ema=ema), f"'{origin}'", assign=True)
    return model.eval()


def best_weights(checkpoint: Mapping[str, Any], *, ema: bool = True) -> Mapping[str, Any]:
    """The averaged weights of a checkpoint, if it has them and they are wanted, else the last ones."""
    weights: Mapping[str, Any] = (checkpoint.get("ema") if ema else None) or checkpoint["model"]
    return weights


def _description(model: MotionTransfer) -> dict[str, Any]:
    """The entries that describe a file and its model, in plain types."""
    config = model.config.to_dict()
    return {"format": FORMAT, "version": VERSION, "architecture": model.architecture, "model_config": config}


def _what_else(content: Mapping[str, Any]) -> str:
    """What a file that does not name this format seems to be."""
    if all(str(name).startswith(("kp_detector.", "dense_motion_network.")) for name in content) and content:
        return "it holds the stage I of first-order-motion alone, from which training can start"
    if {"kp_detector", "generator"} <= content.keys():
        return "first-order-motion wrote it; `internet import-fomm` makes a checkpoint of it"
    return f"its format is {content.get('format')!r}, expected {FORMAT!r}"
