"""First-order-motion's checkpoints: what their weights reveal about the networks, and the model built from them."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from internet.model.first_order.config import FirstOrderConfig
from internet.model.first_order.model import FirstOrderMotion
from internet.model.first_order.settings_file import config_of, their_name
from internet.model.weights import load_weights

#: Prefixes that DataParallel and torch.compile add to names.
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")

#: Settings that weights do not reveal, as in every published configuration.
PUBLISHED = {"size": 256, "temperature": 0.1, "padding": 0, "variance": 0.01}


def import_checkpoint(
    checkpoint: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
    *,
    size: int | None = None,
    align_corners: bool = False,
) -> FirstOrderMotion:
    """The model of a checkpoint that first-order-motion's code has written, in evaluation mode.

    Args:
        checkpoint: its content; the entries `kp_detector` and `generator` are used.
        settings: the content of the YAML file that it was trained with. None: what the weights do not reveal is
            as in every published configuration (:data:`PUBLISHED`).
        size: side of the frames, instead of that in the settings.
        align_corners: sample as torch did before version 1.3, with which the weights of 2019 were trained; see
            docs/import.md.

    Raises:
        ValueError: the checkpoint is not one of first-order-motion, the settings are not those of its weights, or a
            weight or a setting is missing, unknown, or has a shape or value that it cannot have. All are named.
    """
    state = state_of(checkpoint)
    told = told_by_weights(state)
    if settings is None:
        fields = PUBLISHED | told | ({} if size is None else {"size": size})
        config = FirstOrderConfig(**fields, align_corners=align_corners)
    else:
        config = config_of(settings, size=size, align_corners=align_corners)
        _check_agreement(config, told)
    with torch.device("meta"):
        model = FirstOrderMotion(config)
    load_weights(model, state, "the checkpoint", assign=True)
    return model.eval()


def state_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a checkpoint under our names: in theirs, the generator contains the motion network."""
    state = {f"kp_detector.{name}": value for name, value in _entry(checkpoint, "kp_detector").items()}
    for name, value in _entry(checkpoint, "generator").items():
        state[name if name.startswith("dense_motion_network.") else f"generator.{name}"] = value
    return state


def _entry(checkpoint: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The weights of an entry, without prefixes that wrappers add to their names."""
    if name not in checkpoint:
        raise ValueError(f"the checkpoint has no entry '{name}'; it has {', '.join(map(str, checkpoint)) or 'none'}")
    weights = checkpoint[name]
    if not isinstance(weights, Mapping):
        raise ValueError(f"the entry '{name}' of the checkpoint is a {type(weights).__name__}, expected weights")
    return {_WRAPPERS.sub("", str(key)): value for key, value in weights.items()}


def told_by_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`FirstOrderConfig` that follow from the weights: their shapes, and the blur kernels.

    Raises a ValueError that names a missing weight.
    """
    detector, motion, generator = "kp_detector.predictor", "dense_motion_network.hourglass", "generator"
    jacobian = state.get("kp_detector.jacobian.bias")
    return {
        "anchors": _shape(state, "kp_detector.kp.weight")[0],
        "frame_channels": _shape(state, "generator.first.conv.weight")[1],
        "jacobian_maps": jacobian.numel() // 4 if isinstance(jacobian, Tensor) else 0,
        **_told_by_unet(state, detector, "anchor"),
        "anchor_scale": _scale(state.get("kp_detector.down.weight")),
        **_told_by_unet(state, motion, "motion"),
        "motion_scale": _scale(state.get("dense_motion_network.down.weight")),
        "confidence": "dense_motion_network.occlusion.weight" in state,
        "generator_width": _shape(state, "generator.first.conv.weight")[0],
        "generator_widest": _widest(state, [f"{generator}.first", f"{generator}.down_blocks."]),
        "levels": _count(state, f"{generator}.down_blocks."),
        "blocks": _count(state, f"{generator}.bottleneck.r"),
    }


def _told_by_unet(state: Mapping[str, Any], name: str, ours: str) -> dict[str, int]:
    """Width, depth and largest number of channels of a U-Net."""
    depth = _count(state, f"{name}.encoder.down_blocks.")
    return {
        f"{ours}_width": _shape(state, f"{name}.decoder.up_blocks.{depth - 1}.conv.weight")[0],
        f"{ours}_depth": depth,
        f"{ours}_widest": _widest(state, [f"{name}.encoder.down_blocks."]),
    }


def _shape(state: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The shape of a convolution's weights."""
    value = state.get(name)
    if not isinstance(value, Tensor) or value.dim() != 4:
        raise ValueError(f"the checkpoint has no convolution '{name}': first-order-motion did not write it")
    return tuple(value.shape)


def _count(state: Mapping[str, Any], prefix: str) -> int:
    """How many different numbers follow a prefix in the names."""
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def _widest(state: Mapping[str, Any], prefixes: list[str]) -> int:
    """The largest number of output channels among some convolutions."""
    names = [name for name in state if name.endswith("conv.weight") and name.startswith(tuple(prefixes))]
    return max((_shape(state, name)[0] for name in names), default=1)


def _scale(kernel: Any) -> float:
    """The scale of a blur, exact if it is one over a whole number; 1 if there is no blur.

    Its σ is (1/scale - 1)/2, and two neighbours at the kernel's centre have the ratio exp(-1/(2σ²)).
    """
    if not isinstance(kernel, Tensor):
        return 1.0
    side = kernel.shape[-1] if kernel.dim() == 4 and len(kernel) and kernel.is_floating_point() else 0
    if side < 3 or side % 2 == 0 or kernel.shape[-2] != side or kernel.layout != torch.strided:
        shape = tuple(kernel.shape)
        raise ValueError(f"the kernel 'down.weight' is {kernel.dtype} {shape}, expected a Gaussian's, 3x3 at least")
    centre, beside = kernel[0, 0, side // 2, side // 2 : side // 2 + 2].tolist()
    ratio = beside / (centre or math.nan)
    if not 0 < ratio < 1:
        raise ValueError("the kernel 'down.weight' is not a Gaussian's")
    inverse = 1 + 2 * math.sqrt(-1 / (2 * math.log(ratio)))
    return 1 / round(inverse) if abs(inverse - round(inverse)) < 0.02 else round(1 / inverse, 4)


def _check_agreement(config: FirstOrderConfig, told: Mapping[str, Any]) -> None:
    """Raise a ValueError that names every setting that disagrees with the weights."""
    wrong = [
        f"{their_name(name)} is {_effective(config, name)}, of the weights {value}"
        for name, value in told.items()
        if not math.isclose(_effective(config, name), value, rel_tol=5e-3)
    ]
    if wrong:
        raise ValueError("the settings are not those that the weights were trained with:\n  " + "\n  ".join(wrong))


def _effective(config: FirstOrderConfig, name: str) -> Any:
    """A setting as far as it has an effect: a limit on channels that no level reaches has none."""
    if name == "generator_widest":
        return min(config.generator_widest, config.generator_width * 2**config.levels)
    if name.endswith("_widest"):
        part = name.removesuffix("_widest")
        return min(getattr(config, name), getattr(config, f"{part}_width") * 2 ** getattr(config, f"{part}_depth"))
    return getattr(config, name)
