"""Shared by the samples of operators with anchors."""

from typing import Any

import torch
from torch import Tensor

from tests.support.samples.layouts import LAID_OUT
from tests.support.samples.source import Source

Anchors = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Key points (B, K, n) and Jacobians (B, K, n, n), source before driving of each."""


def draw_anchors(source: Source, batch: int, anchors: int, jacobians: bool, axes: int = 2) -> Anchors:
    """Anchors within the frame, with Jacobians near the identity, or None."""
    kp_source, kp_driving = (source.uniform(-0.9, 0.9, batch, anchors, axes) for _ in range(2))
    if not jacobians:
        return kp_source, kp_driving, None, None
    eye = torch.eye(axes, dtype=torch.float64)
    jac_source, jac_driving = (eye + 0.2 * source.normal(batch, anchors, axes, axes) for _ in range(2))
    return kp_source, kp_driving, jac_source, jac_driving


def draw_background(source: Source, batch: int, axes: int = 2) -> Tensor:
    """A projective motion (B, n+1, n+1) near the identity, whose denominator is far from 0 in the whole frame."""
    eye = torch.eye(axes + 1, dtype=torch.float64)
    return eye + source.uniform(-0.2, 0.2, batch, axes + 1, axes + 1)


def singular(jacobian: Tensor) -> Tensor:
    """Determinants 0, tiny and positive, tiny and negative."""
    tiny = torch.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1e-4, 0], [0, 1e-3]], [[-1e-4, 0], [0, 1e-3]]])
    matrix = torch.eye(jacobian.shape[-1]).repeat(3, 1, 1)
    matrix[:, :2, :2] = tiny
    return matrix.to(jacobian).expand_as(jacobian).clone()


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
"""The parameters of samples that all of these operators have, by name."""
