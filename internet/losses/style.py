"""Eqs. 10-11: the style loss."""

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
    distance = (gram(ours) - gram(theirs)).square().sum((1, 2))
    return distance.mean() / ours[0].numel()
