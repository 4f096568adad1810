"""Weights of the loss that change as training goes on."""

import dataclasses

import numpy as np

from internet.losses import Weights
from internet.training.sections import Loss


def weights_at(section: Loss, step: int) -> Weights:
    """The weights of a step: those that have a schedule lie on the lines between its points, level beyond its ends."""
    changes = {}
    for name, points in section.schedule.items():
        steps, values = zip(*points, strict=True)
        changes[name] = float(np.interp(step, steps, values))
    return dataclasses.replace(section.weights, **changes)
