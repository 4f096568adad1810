"""What the operators that move local anchors share."""

from typing import Any

import torch
from torch import Tensor

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.source import Source

Anchors = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Key points (B, K, 2) and Jacobians (B, K, 2, 2), source before driving of each."""


def draw_anchors(source: Source, batch: int, anchors: int, jacobians: bool) -> Anchors:
    """Anchors within the frame, with Jacobians near the identity, or None."""
    kp_source, kp_driving = (source.uniform(-0.9, 0.9, batch, anchors, 2) for _ in range(2))
    if not jacobians:
        return kp_source, kp_driving, None, None
    eye = torch.eye(2, dtype=torch.float64)
    jac_source, jac_driving = (eye + 0.2 * source.normal(batch, anchors, 2, 2) for _ in range(2))
    return kp_source, kp_driving, jac_source, jac_driving


def singular(jacobian: Tensor) -> Tensor:
    """Determinants 0, tiny and positive, tiny and negative."""
    tiny = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1e-4, 0], [0, 1e-3]], [[-1e-4, 0], [0, 1e-3]]])
    return tiny.to(jacobian).expand_as(jacobian).clone()


ANCHORED: dict[str, dict[str, Any]] = {
    "odd sizes": {},
    "no Jacobians": {"jacobians": False},
    "align_corners": {"align_corners": True},
    "one anchor": {"anchors": 1, "batch": 1},
    "no anchors": {"anchors": 0},
    "twenty anchors": {"anchors": 20, "size": (3, 5)},
    "one pixel": {"size": (1, 1)},
    "no pixels": {"size": (0, 4)},
    "empty batch": {"batch": 0},
    **LAID_OUT,
}
"""The parameters of samples that all of them have, by name."""
