"""The result of a fit, and how good it is."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from internet.registration.motion import MixtureMotion


@dataclass(frozen=True)
class Errors:
    """How well a motion explains the driving frame.

    ``photometric`` is the mean absolute difference to the warped source, of 255; ``moving`` the same over the
    pixels that move; ``endpoint`` the mean distance in pixels to the reliable optical flow of moving pixels.
    """

    photometric: float
    moving: float
    endpoint: float


@dataclass
class Registration:
    """The result of :func:`register`. All tensors are float32 and detached.

    motion: the fitted parameters. field: (1, h, w, 2). confidence: (1, 1, h, w).
    warped: the source warped to the driving frame, (1, 3, H, W).
    flow: the fitted motion as optical flow driving -> source, (1, 2, H, W) in pixels.
    teacher: the estimated optical flow that it started from, same shape. reliable: its extrinsic mask, (1, 1, H, W).
    errors: by stage, "identity" (nothing moves), "initial" (the initial estimate), "fitted".
    losses: the energy at every step. threshold: the soft threshold of Eq. 5 with which the field was composed.
    """

    motion: MixtureMotion
    field: Tensor
    confidence: Tensor
    warped: Tensor
    flow: Tensor
    teacher: Tensor
    reliable: Tensor
    threshold: float
    errors: dict[str, Errors] = dataclasses.field(default_factory=dict)
    losses: list[float] = dataclasses.field(default_factory=list)

    def state(self) -> dict[str, Tensor]:
        """The fitted state as plain tensors: everything `internet.ops` needs to compose the field and warp an image."""
        parameters = {name: value.detach().clone() for name, value in self.motion.named_parameters()}
        return parameters | {
            "field": self.field,
            "confidence": self.confidence,
            "threshold": torch.tensor(self.threshold),
        }
