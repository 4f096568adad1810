"""Loss weights that change during training."""

import dataclasses

import numpy as np

from internet.losses import Weights
from internet.training.config.sections import Loss


def weights_at(section: Loss, step: int) -> Weights:
    """The weights at a step; a schedule is interpolated between its points and constant beyond its ends.

    In the first `stage_one` steps the weights of all terms of the frame are 0, and stage II is not run.
    """
    changes = {}
    for name, points in section.schedule.items():
        steps, values = zip(*points, strict=True)
        changes[name] = float(np.interp(step, steps, values))
    weights = dataclasses.replace(section.weights, **changes)
    return weights.of_motion if step < section.stage_one else weights
