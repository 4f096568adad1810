"""Read the learning curves and pictures of a run."""

import os
from typing import Any

from internet.utils.optional import require


def read_curves(folder: str | os.PathLike[str]) -> dict[str, list[tuple[float, float]]]:
    """A run's tensorboard scalars: points (step, value) by names such as "training/total"."""
    events = _events(folder, "scalars")
    return {
        name: [(float(point.step), float(point.value)) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def read_pictures(folder: str | os.PathLike[str], name: str) -> list[tuple[int, bytes]]:
    """A run's tensorboard pictures of one name: (step, PNG file)."""
    events = _events(folder, "images")
    found = events.Images(name) if name in events.Tags()["images"] else []
    return [(int(picture.step), bytes(picture.encoded_image_string)) for picture in found]


def _events(folder: str | os.PathLike[str], kind: str) -> Any:
    """A run's tensorboard events of one kind."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = require(module, "reading learning curves").EventAccumulator
    nothing = {"scalars": 1, "images": 1, "tensors": 1}  # the minimum; 0 means all
    events = accumulator(str(folder), size_guidance=nothing | {kind: 0})
    events.Reload()
    return events
