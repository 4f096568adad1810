"""Eqs. 10-11: the style loss."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from internet.model.blocks import widened, without_autocast


def gram(features: Tensor) -> Tensor:
    r"""Eq. 11, the correlations of channels over all positions: (B, C, H, W) -> (B, C, C), in float32 at least.

    .. math:: G_{ij} = \tfrac{1}{CHW} \sum_{h,w} F_{ihw} F_{jhw}
    """
    with without_autocast(features):
        pixels = _pixels(features)
        return pixels.mT @ pixels / pixels[0].numel()


def style_loss(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    r"""Eq. 10, :math:`\sum_l \tfrac{1}{C_l H_l W_l} \|G(\phi_l(I)) - G(\phi_l(O))\|_F^2`, averaged over the batch.

    The Gram matrix is divided by CHW in Eq. 11, and its squared norm again here, as the paper prints it: the
    values are tiny, and fall with the frame's area.

    Args:
        output, target: features (B, C_l, H_l, W_l) of the generated and of the real frame, one for each layer.
    """
    return torch.stack([_layer(ours, theirs) for ours, theirs in zip(output, target, strict=True)]).sum()


def _layer(ours: Tensor, theirs: Tensor) -> Tensor:
    channels, *size = ours.shape[1:]
    is_deep = 2 * math.prod(size) < channels
    distance = _through_pixels(ours, theirs) if is_deep else (gram(ours) - gram(theirs)).square().sum((1, 2))
    return distance.mean() / ours[0].numel()


def _through_pixels(ours: Tensor, theirs: Tensor) -> Tensor:
    r""":math:`\|G(F) - G(F')\|_F^2` of each sample, (B,), computed from (HW, HW) matrices.

    A deep layer has more channels than pixels, so its Gram matrix is larger than the layer. With the pixels' channels
    as rows, :math:`D = F - F'` and :math:`M = (F + F') / 2`, both (HW, C), the difference of the products is
    :math:`F^T F - F'^T F' = D^T M + M^T D`, and as :math:`\|A\|_F^2 = \mathrm{tr}(A^T A)` and a trace is
    invariant under cyclic permutation,

    .. math:: \|D^T M + M^T D\|_F^2 = 2\, \mathrm{tr}(D D^T\, M M^T) + 2\, \mathrm{tr}(M D^T\, M D^T),

    in which all products are (HW, HW). Like the plain form it is exactly 0 where F = F', and loses no accuracy nearby.
    """
    with without_autocast(ours):
        ours, theirs = _pixels(ours), _pixels(theirs)
        difference, mean = ours - theirs, (ours + theirs) / 2
        crossed = mean @ difference.mT
        traces = (difference @ difference.mT) * (mean @ mean.mT) + crossed * crossed.mT
        return 2 * traces.sum((1, 2)) / ours[0].numel() ** 2


def _pixels(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C), in float32 at least. For channels_last features it is a view, as is the gradient."""
    return widened(features).permute(0, 2, 3, 1).flatten(1, 2)
