"""Learning curves of a run, read back."""

import os

from internet.utils.optional import require


def read_curves(folder: str | os.PathLike[str]) -> dict[str, list[tuple[float, float]]]:
    """What a run has told tensorboard: points (step, value) by names such as "training/total"."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = require(module, "reading learning curves").EventAccumulator
    events = accumulator(str(folder), size_guidance={"scalars": 0})  # 0: all of them
    events.Reload()
    return {
        name: [(float(point.step), float(point.value)) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
