"""Weights of the loss that change as training goes on."""

import dataclasses

import numpy as np

from internet.losses import Weights
from internet.training.config.sections import Loss


def weights_at(section: Loss, step: int) -> Weights:
    """The weights of a step: those that have a schedule lie on the lines between its points, level beyond its ends.

    In the first steps those of the frame's terms may be 0, and then stage II has no work.
    """
    changes = {}
    for name, points in section.schedule.items():
        steps, values = zip(*points, strict=True)
        changes[name] = float(np.interp(step, steps, values))
    weights = dataclasses.replace(section.weights, **changes)
    return weights.of_motion if step < section.stage_one else weights
