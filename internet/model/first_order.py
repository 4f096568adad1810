"""Stage I of first-order-motion (Siarohin et al., NeurIPS 2019), and its checkpoints.

Its key-point detector and dense-motion network are ours with other options: batch normalisation, Gaussian
anti-aliasing before every fourth pixel is taken, unpadded heat maps, no threshold, and a mix of coordinate
conventions: its grids are made as with ``align_corners=True``, but sampled as with ``False``. Its occlusion map takes
the place of the confidence.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.model.anchors import AnchorDetector
from internet.model.blocks import without_autocast
from internet.model.motion import MotionEstimator
from internet.model.weights import as_expected, check_weights

FACTOR = 4
DEPTH = 5
WIDEST = 1024

#: Where a checkpoint keeps the parts of stage I: its entry, and what their names begin with there and here.
_PARTS = (("kp_detector", "", "kp_detector."), ("generator", "dense_motion_network.", "dense_motion_network."))


class GaussianDown(nn.Module):
    """(B, C, H, W) -> (B, C, H/f, W/f): a Gaussian blur with σ = (f-1)/2, then the first of every f pixels."""

    weight: Tensor

    def __init__(self, channels: int = 3, factor: int = FACTOR) -> None:
        super().__init__()
        sigma = (factor - 1) / 2
        radius = round(4 * sigma)
        line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
        kernel = torch.outer(line, line) / line.sum() ** 2
        self.register_buffer("weight", kernel.repeat(channels, 1, 1, 1))
        self.radius, self.factor = radius, factor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/f, W/f)."""
        with without_autocast(x):
            groups = self.weight.shape[0]
            return functional.conv2d(x, self.weight, stride=self.factor, padding=self.radius, groups=groups)


def key_point_detector(anchors: int = 10) -> AnchorDetector:
    """First-order-motion's KPDetector."""
    return AnchorDetector(
        anchors, GaussianDown(), 32, DEPTH, WIDEST, normalisation=nn.BatchNorm2d, border=False, align_corners=True
    )


def dense_motion_network(anchors: int = 10) -> MotionEstimator:
    """First-order-motion's DenseMotionNetwork."""
    return MotionEstimator(
        anchors, GaussianDown(), 64, DEPTH, WIDEST, normalisation=nn.BatchNorm2d, grid_align_corners=True
    )


def stage_one(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state of stage I in a checkpoint, named as in an INTERnet with ``stage_one="first-order"``.

    The generator's other weights are left out. Raises ValueError naming every missing, unknown or misshapen weight.
    """
    state: dict[str, Tensor] = {}
    for entry, theirs, ours in _PARTS:
        if entry not in checkpoint:
            raise ValueError(f"the checkpoint has no entry '{entry}'; it has {', '.join(map(str, checkpoint))}")
        weights = checkpoint[entry]
        if not isinstance(weights, Mapping):
            raise ValueError(f"the entry '{entry}' of the checkpoint is a {type(weights).__name__}, expected weights")
        state |= {ours + name[len(theirs) :]: value for name, value in weights.items() if name.startswith(theirs)}
    head = state.get("kp_detector.kp.weight")
    return checked_stage_one(state, len(head) if isinstance(head, Tensor) and head.dim() else 10)


def checked_stage_one(state: Mapping[str, Tensor], anchors: int) -> dict[str, Tensor]:
    """A state of stage I in the networks' precision.

    Raises a ValueError that names what is missing, unknown or of a wrong shape or kind.
    """
    with torch.device("meta"):
        parts = nn.ModuleDict(
            {"kp_detector": key_point_detector(anchors), "dense_motion_network": dense_motion_network(anchors)}
        )
    expected = parts.state_dict()
    check_weights(state, expected, "first-order-motion's stage I")
    return as_expected(state, expected)
