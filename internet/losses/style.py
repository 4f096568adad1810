"""Eqs. 10-11: the style loss."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from internet.model.blocks import widened, without_autocast


def gram(features: Tensor) -> Tensor:
    r"""Eq. 11: which channels go together, wherever: (B, C, H, W) -> (B, C, C), in float32 at least.

    .. math:: G_{ij} = \tfrac{1}{CHW} \sum_{h,w} F_{ihw} F_{jhw}
    """
    with without_autocast(features):
        flat = widened(features).flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])


def style_loss(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    r"""Eq. 10, :math:`\sum_l \tfrac{1}{C_l H_l W_l} \|G(\phi_l(I)) - G(\phi_l(O))\|_F^2`, averaged over the batch.

    The Gram matrix is divided by CHW once in Eq. 11 and its squared norm again here, as the paper prints it: the
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
    r""":math:`\|G(F) - G(F')\|_F^2` of each sample, (B,), from matrices of pixels by pixels.

    A deep layer has more channels than pixels, and its Gram matrix costs more than the layer. With
    :math:`D = F - F'` and :math:`M = (F + F') / 2`, both (C, HW), the difference of the products is
    :math:`F F^T - F' F'^T = D M^T + M D^T`, and as :math:`\|A\|_F^2 = \mathrm{tr}(A^T A)` and a trace turns round,

    .. math:: \|D M^T + M D^T\|_F^2 = 2\, \mathrm{tr}(D^T D\, M^T M) + 2\, \mathrm{tr}(M^T D\, M^T D),

    in which all products are (HW, HW). Like the plain form it is 0 where F is F', and does not lose digits near it.
    """
    with without_autocast(ours):
        ours, theirs = widened(ours).flatten(2), widened(theirs).flatten(2)
        difference, mean = ours - theirs, (ours + theirs) / 2
        crossed = mean.mT @ difference
        traces = (difference.mT @ difference) * (mean.mT @ mean) + crossed * crossed.mT
        return 2 * traces.sum((1, 2)) / (ours.shape[1] * ours.shape[2]) ** 2
