"""Eq. 9: the perceptual loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

from internet.losses.distance import mean_absolute_difference


def perceptual_loss(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    r"""Eq. 9, :math:`\sum_l \tfrac{1}{C_l H_l W_l} \|\phi_l(I) - \phi_l(O)\|_1`, averaged over the batch.

    Args:
        output, target: features (B, C_l, H_l, W_l) of the generated and of the real frame, one for each layer.
    """
    pairs = zip(output, target, strict=True)
    return torch.stack([mean_absolute_difference(ours, theirs) for ours, theirs in pairs]).sum()
