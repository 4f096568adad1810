"""Start from the weights of another training."""

from collections.abc import Mapping
from dataclasses import fields

from torch import Tensor

from internet.model import FirstOrderConfig, FirstOrderMotion, INTERnet, MotionTransfer
from internet.model.checkpoint import (
    best_weights,
    build_model,
    checked_entries,
    find_checkpoint,
    read_entries,
)
from internet.model.weights import load_weights

#: The settings of first-order-motion that do not concern its stage I.
_OTHERS = ("size", "generator_width", "generator_widest", "levels", "blocks")
#: What the names of additions to the paper's model begin with: a background predictor, a picture of the scene.
_ADDITIONS = ("background_predictor.", "generator.scene")
_STAGE_ONE = [field.name for field in fields(FirstOrderConfig) if field.name not in _OTHERS]


def warm_start(model: INTERnet, path: str) -> None:
    """Load a checkpoint of such a model (its averaged weights, if it has them), or stage I of first-order-motion.

    From a training folder it takes the newest checkpoint; from a file of `internet import-fomm`, stage I. A
    background predictor or a scene that only the model has starts as in a new one; one that only the checkpoint has is
    ignored.

    Raises:
        OSError, ValueError: the file cannot be read, or its weights do not fit.
    """
    file = find_checkpoint(path)
    entries = read_entries(file)
    if "format" not in entries:  # stage I alone
        model.load_stage_one(entries)
        return
    checkpoint = checked_entries(entries, file)
    if checkpoint["architecture"] == FirstOrderMotion.architecture:
        model.load_stage_one(_stage_one(build_model(checkpoint, file)))
    else:
        load_weights(model, _own_additions(model, best_weights(checkpoint)), f"'{file}'")


def _own_additions(model: INTERnet, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with those of additions added or removed to fit the model."""
    own = {name: value for name, value in model.state_dict().items() if name.startswith(_ADDITIONS)}
    return {**own, **{name: value for name, value in weights.items() if name in own or not name.startswith(_ADDITIONS)}}


def _stage_one(imported: MotionTransfer) -> dict[str, Tensor]:
    """Stage I of first-order-motion, if it computes the same as an INTERnet's.

    Raises a ValueError that names the settings in which it differs.
    """
    found = imported.config.to_dict()
    anchors = found["anchors"]
    expected = FirstOrderConfig(anchors=anchors, jacobian_maps=anchors).to_dict()
    other = [f"{name} {found[name]}, not {expected[name]}" for name in _STAGE_ONE if found[name] != expected[name]]
    if other:
        raise ValueError(f"its stage I is not that of an INTERnet with stage_one = 'first-order': {', '.join(other)}")
    return {name: value for name, value in imported.state_dict().items() if not name.startswith("generator.")}
