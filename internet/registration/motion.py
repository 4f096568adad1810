"""What is fitted: a motion field as a mixture of local affine maps, and how far to trust it."""

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


def identity_field(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The motion field (1, H, W, 2) that moves nothing (align_corners=False)."""
    y = (2 * torch.arange(height, device=device) + 1) / height - 1
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def field_to_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (1, h, w, 2) as optical flow (1, 2, h, w), in pixels of an image of ``size`` (H, W)."""
    height, width = size
    displacement = field - identity_field(field.shape[1], field.shape[2], field.device)
    return (displacement * displacement.new_tensor([width / 2, height / 2])).permute(0, 3, 1, 2)


def full_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (1, h, w, 2) as optical flow (1, 2, H, W), in pixels, where H/h is a power of two.

    It is the displacement that is upsampled, progressively. This is the same as upsampling the field, except
    on the outermost pixels: repeating the border of a field pulls them inwards, of a displacement it does not.
    """
    flow = field_to_flow(field, size).permute(0, 2, 3, 1)
    while flow.shape[1] < size[0]:
        flow, _ = ops.upsample_motion(flow)
    return flow.permute(0, 3, 1, 2)
