"""Losses against what is known of drawn figures: parts, motion, visibility. None of them is the paper's."""

import torch
from torch import Tensor
from torch.nn import functional

from internet.geometry import affine_points, flow_to_field, identity_field
from internet.model.anchors import Anchors
from internet.model.blocks import widened

#: Confidences are kept this far from 0 and 1, where logarithms are infinite, and squared distances this far from 0,
#: where the derivative of the square root is.
EPSILON = 1e-4


def anchor_losses(anchors: Anchors, points: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """How far the first P anchors are from the middles of the P parts, and their Jacobians from the parts' rotations.

    With an anchor on each rigid part, turned as the part is, each map of Eq. 5 is the true motion of a part. A part
    whose middle is outside the frame is not counted: a soft-argmax cannot get there.

    Args:
        anchors: of K >= P, (B, K, 2) and (B, K, 2, 2).
        points: (B, P, 2), x first, normalised to [-1, 1].
        turns: (B, P, 2, 2).

    Returns:
        The two mean absolute differences, scalars.

    Raises:
        ValueError: there are fewer anchors than parts.
    """
    parts = points.shape[1]
    if anchors.kp.shape[1] < parts:
        raise ValueError(f"the model has {anchors.kp.shape[1]} anchors, expected at least {parts}, one for each part")
    inside = (points.abs() <= 1).all(-1)[..., None].to(points.dtype)  # (B, P, 1)
    counted = inside.sum().clamp(min=1)
    off = (anchors.kp[:, :parts] - points).abs().mean(-1, keepdim=True) * inside
    turned = (anchors.jac[:, :parts] - turns).abs().mean((-2, -1))[..., None] * inside
    return off.sum() / counted, turned.sum() / counted


def region_loss(logits: Tensor, parts: Tensor) -> Tensor:
    r"""The cross entropy between the weights of Eq. 5's mixture and the share of each part in each of its pixels.

    .. math:: -\tfrac{1}{Bhw} \sum_z \sum_{p=0}^{P} s_p(z) \log \omega_p(z)

    With an anchor on each part (:func:`anchor_losses`), the part's pixels should follow that anchor.

    Args:
        logits: (B, K+1, h, w), of the mixture weights ω, channel 0 the background.
        parts: (B, 1, H, W), whole numbers from 0, the background, to P <= K; (H, W) is a multiple of (h, w).
    """
    masks = torch.stack([parts[:, 0] == part for part in range(logits.shape[1])], dim=1)
    share = functional.adaptive_avg_pool2d(masks.float(), (logits.shape[2], logits.shape[3]))
    return -(share * functional.log_softmax(widened(logits), dim=1)).sum(1).mean()


def background_loss(background: Tensor, motion: Tensor, parts: Tensor) -> Tensor:
    r"""How far the background's motion is from the true one, over the pixels where the driving frame shows background.

    .. math:: \tfrac{1}{\#\{z : p(z) = 0\}} \sum_{p(z) = 0} \| T_0(z) - z - f(z) \|

    in normalised coordinates.

    Args:
        background: T_0, (B, 3, 3), an affine motion from driving to source.
        motion: f, (B, 2, H, W) in pixels, the true flow from the driving frame to the source.
        parts: p, (B, 1, H, W), 0 where the driving frame shows the background.
    """
    here = identity_field(motion.shape[2], motion.shape[3], motion.device)
    off = (affine_points(background[:, None], here) - flow_to_field(motion)).square().sum(-1)
    seen = (parts[:, 0] == 0).to(off.dtype)
    return ((off + EPSILON**2).sqrt() * seen).sum() / seen.sum().clamp(min=1)


def confidence_loss(confidence: Tensor, visible: Tensor) -> Tensor:
    r"""The binary cross entropy between M^0 and the share of each of its pixels that the source shows as well.

    .. math:: -\tfrac{1}{Bhw} \sum_z v(z) \log M(z) + (1 - v(z)) \log(1 - M(z))

    Args:
        confidence: M^0, (B, 1, h, w) in (0, 1).
        visible: v, (B, 1, H, W) in [0, 1], 1 where what the driving frame shows is visible in the source too; (H, W) is
            a multiple of (h, w).
    """
    share = functional.adaptive_avg_pool2d(visible, (confidence.shape[2], confidence.shape[3]))
    sure = widened(confidence).clamp(EPSILON, 1 - EPSILON)
    return -torch.lerp((1 - sure).log(), sure.log(), share.to(sure.dtype)).mean()
