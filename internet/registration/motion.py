"""The unknowns of a fit: a motion field as a mixture of local affine maps, and its confidence."""

import torch
from torch import Tensor, nn

from internet import ops


class MixtureMotion(nn.Module):
    """K anchors, their Jacobians, mixture logits and a confidence map at the base size (h, w), all free parameters.

    In a network these are predicted from two frames; here they are the unknowns, for one pair of frames.

    Parameters (float32):
        kp_source, kp_driving: (1, K, 2), normalised coordinates, x first.
        jac_source, jac_driving: (1, K, 2, 2).
        logits: (1, K+1, h, w); channel 0 is the still background.
        confidence_logits: (1, 1, h, w), the confidence before its sigmoid.
    """

    def __init__(self, kp_source: Tensor, kp_driving: Tensor, jacobian: Tensor, logits: Tensor) -> None:
        """Start from anchors (K, 2), the local maps' matrices (K, 2, 2) and logits (K+1, h, w)."""
        super().__init__()
        identity = torch.eye(2).expand_as(jacobian)
        self.kp_source = nn.Parameter(kp_source[None].clone())
        self.kp_driving = nn.Parameter(kp_driving[None].clone())
        self.jac_source = nn.Parameter(jacobian[None].clone())
        self.jac_driving = nn.Parameter(identity[None].clone())
        self.logits = nn.Parameter(logits[None].clone())
        self.confidence_logits = nn.Parameter(torch.full_like(logits[None, :1], 3.0))

    def field(self, threshold: float) -> Tensor:
        """The motion field of Eq. 5, (1, h, w, 2): where each driving pixel is found in the source."""
        return ops.affine_mixture(
            self.logits,
            self.kp_source,
            self.kp_driving,
            self.jac_source,
            self.jac_driving,
            threshold=threshold,
        )

    def confidence(self) -> Tensor:
        """The intrinsic confidence map M, (1, 1, h, w), in (0, 1)."""
        return self.confidence_logits.sigmoid()
