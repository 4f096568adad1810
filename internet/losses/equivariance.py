"""Equivariance: the anchors of a deformed frame are the deformed anchors."""

from collections.abc import Callable

import torch
from torch import Tensor

from internet.geometry import inverse
from internet.losses.thin_plate_spline import ThinPlateSpline
from internet.model.anchors import Anchors
from internet.model.blocks import without_autocast


def equivariance_losses(
    detector: Callable[[Tensor], Anchors], frame: Tensor, anchors: Anchors, spline: ThinPlateSpline
) -> tuple[Tensor, Tensor]:
    r"""How far the anchors of a deformed frame are from the deformed anchors, and likewise their Jacobians.

    The deformed frame shows at z what the frame has at T(z), so its anchors p' lie at T(p') in the frame:

    .. math:: p = T(p'), \qquad J = T'(p')\, J'

    as in first-order-motion. Its form of the second, :math:`|1 - J^{-1} T'(p') J'|`, cannot be lowered by shrinking J.

    Args:
        detector: frame (B, 3, H, W) -> anchors.
        frame: (B, 3, H, W).
        anchors: the detector's, of this frame.
        spline: T, one for each sample.

    Returns:
        The two mean absolute differences.
    """
    deformed = detector(spline.warp(frame))
    points = (anchors.kp - spline(deformed.kp)).abs().mean()
    with without_autocast(frame):
        ratio = inverse(anchors.jac) @ (spline.jacobian(deformed.kp) @ deformed.jac)
    jacobians = (torch.eye(2, dtype=ratio.dtype, device=ratio.device) - ratio).abs().mean()
    return points, jacobians
