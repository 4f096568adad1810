"""The YAML file of a first-order-motion checkpoint, converted to our settings."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from internet.model.first_order.config import FirstOrderConfig
from internet.utils.files import check_regular
from internet.utils.optional import require
from internet.utils.settings import SettingError

REQUIRED = object()


class Entry(NamedTuple):
    """A setting of theirs: its section, its name, our name for it, and its value if the file does not have it."""

    section: str
    name: str
    ours: str
    default: Any = REQUIRED

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"


_COMMON, _DETECTOR, _GENERATOR = (f"model_params.{part}_params" for part in ("common", "kp_detector", "generator"))
_MOTION = f"{_GENERATOR}.dense_motion_params"

#: Every setting of the networks. Our name is "" where two of their settings correspond to one of ours.
ENTRIES = (
    Entry(_COMMON, "num_kp", "anchors"),
    Entry(_COMMON, "num_channels", "frame_channels"),
    Entry(_COMMON, "estimate_jacobian", "", False),
    Entry(_DETECTOR, "block_expansion", "anchor_width"),
    Entry(_DETECTOR, "num_blocks", "anchor_depth"),
    Entry(_DETECTOR, "max_features", "anchor_widest"),
    Entry(_DETECTOR, "scale_factor", "anchor_scale", 1),
    Entry(_DETECTOR, "temperature", "temperature"),
    Entry(_DETECTOR, "pad", "padding", 0),
    Entry(_DETECTOR, "single_jacobian_map", "", False),
    Entry(_GENERATOR, "block_expansion", "generator_width"),
    Entry(_GENERATOR, "max_features", "generator_widest"),
    Entry(_GENERATOR, "num_down_blocks", "levels"),
    Entry(_GENERATOR, "num_bottleneck_blocks", "blocks"),
    Entry(_GENERATOR, "estimate_occlusion_map", "confidence", False),
    Entry(_MOTION, "block_expansion", "motion_width"),
    Entry(_MOTION, "num_blocks", "motion_depth"),
    Entry(_MOTION, "max_features", "motion_widest"),
    Entry(_MOTION, "scale_factor", "motion_scale", 1),
    Entry(_MOTION, "kp_variance", "variance", 0.01),
)
_JACOBIAN, _SINGLE = (entry for entry in ENTRIES if not entry.ours)


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A YAML file as a dictionary; reading it runs no code.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not YAML, or not a map.
        MissingExtraError: the package that reads YAML is not installed.
    """
    yaml = require("yaml", "reading a YAML file")
    check_regular(path)
    with open(path, "rb") as stream:
        try:
            settings = yaml.safe_load(stream)
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"'{path}' is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"'{path}' holds a {type(settings).__name__}, expected sections such as model_params")
    return settings


def config_of(settings: Mapping[str, Any], *, size: int | None = None, align_corners: bool = False) -> FirstOrderConfig:
    """Their settings converted to ours.

    Args:
        settings: the content of their YAML file; its `model_params` and `dataset_params.frame_shape` are used.
        size: side of the frames, instead of `frame_shape`.
        align_corners: see :class:`FirstOrderConfig`.

    Raises:
        ValueError: a setting is missing, unknown, or has a value that it cannot have; the message names it.
    """
    for section in dict.fromkeys(entry.section for entry in ENTRIES):
        known = [entry.name for entry in ENTRIES if entry.section == section]
        unknown = [name for name in _section(settings, section) if name not in known and f"{section}.{name}" != _MOTION]
        if unknown:
            raise SettingError(f"{section} has the unknown {', '.join(map(str, unknown))}, expected {', '.join(known)}")
    fields = {entry.ours: _value(settings, entry) for entry in ENTRIES if entry.ours}
    jacobian, single = (_flag(settings, entry) for entry in (_JACOBIAN, _SINGLE))
    fields["jacobian_maps"] = 0 if not jacobian else 1 if single else fields["anchors"]
    fields["size"] = _frame_size(settings) if size is None else size
    try:
        return FirstOrderConfig(**fields, align_corners=align_corners)
    except ValueError as error:  # "name is value, expected ..."
        raise SettingError(_in_their_words(str(error), size is not None)) from error


def their_name(ours: str) -> str:
    """The name that their YAML file has for one of our fields."""
    if ours == "jacobian_maps":
        return f"the number of Jacobian maps ({_JACOBIAN}, {_SINGLE})"
    if ours == "size":
        return "dataset_params.frame_shape"
    return next((str(entry) for entry in ENTRIES if entry.ours == ours), ours)


def _in_their_words(message: str, size_was_given: bool) -> str:
    """A message that begins with one of our fields, with their name for it."""
    ours, _, rest = message.partition(" ")
    return message if ours == "size" and size_was_given else f"{their_name(ours)} {rest}"


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Any = settings
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise SettingError(f"there is no section {name}")
    return found


def _value(settings: Mapping[str, Any], entry: Entry) -> Any:
    value = _section(settings, entry.section).get(entry.name, entry.default)
    if value is REQUIRED:
        raise SettingError(f"there is no setting {entry}")
    return value


def _flag(settings: Mapping[str, Any], entry: Entry) -> bool:
    value = _value(settings, entry)
    if not isinstance(value, bool):
        raise SettingError(f"{entry} is {value!r}, expected true or false")
    return value


def _frame_size(settings: Mapping[str, Any]) -> int:
    """The side of the frames; 256, as in first-order-motion, if the file does not have it."""
    dataset = settings.get("dataset_params")
    shape = dataset.get("frame_shape", [256, 256, 3]) if isinstance(dataset, Mapping) else [256, 256, 3]
    if not (isinstance(shape, list) and len(shape) >= 2 and all(type(side) is int for side in shape[:2])):
        raise SettingError(f"dataset_params.frame_shape is {shape!r}, expected height, width and channels")
    if shape[0] != shape[1]:
        raise SettingError(f"dataset_params.frame_shape is {shape!r}, and frames are square here: give the size to use")
    return int(shape[0])
