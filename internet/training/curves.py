"""Learning curves and pictures of a run, read back."""

import os
from typing import Any

from internet.utils.optional import require


def read_curves(folder: str | os.PathLike[str]) -> dict[str, list[tuple[float, float]]]:
    """What a run has written for tensorboard: points (step, value) by names such as "training/total"."""
    events = _events(folder, "scalars")
    return {
        name: [(float(point.step), float(point.value)) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def read_pictures(folder: str | os.PathLike[str], name: str) -> list[tuple[int, bytes]]:
    """The pictures that a run has shown tensorboard under a name: (step, PNG file)."""
    events = _events(folder, "images")
    found = events.Images(name) if name in events.Tags()["images"] else []
    return [(int(picture.step), bytes(picture.encoded_image_string)) for picture in found]


def _events(folder: str | os.PathLike[str], kind: str) -> Any:
    """Everything of one kind that a run has written for tensorboard."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = require(module, "reading learning curves").EventAccumulator
    nothing = {"scalars": 1, "images": 1, "tensors": 1}  # the least there is; 0 is all
    events = accumulator(str(folder), size_guidance=nothing | {kind: 0})
    events.Reload()
    return events
