"""Motion fields in other terms: the field that moves nothing, and a field as optical flow (docs/conventions.md)."""

import torch
from torch import Tensor

from internet import ops


def identity_field(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The motion field (1, H, W, 2) that moves nothing (align_corners=False)."""
    y = (2 * torch.arange(height, device=device) + 1) / height - 1
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def field_to_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (B, h, w, 2) as optical flow (B, 2, h, w), in pixels of an image of ``size`` (H, W)."""
    height, width = size
    displacement = field - identity_field(field.shape[1], field.shape[2], field.device)
    return (displacement * displacement.new_tensor([width / 2, height / 2])).permute(0, 3, 1, 2)


def full_flow(field: Tensor, size: tuple[int, int]) -> Tensor:
    """A motion field (B, h, w, 2) as optical flow (B, 2, H, W), in pixels, where H/h is a power of two.

    It is the displacement that is upsampled, progressively. This is the same as upsampling the field, except
    on the outermost pixels: repeating the border of a field pulls them inwards, of a displacement it does not.
    """
    flow = field_to_flow(field, size).permute(0, 2, 3, 1)
    while flow.shape[1] < size[0]:
        flow, _ = ops.upsample_motion(flow)
    return flow.permute(0, 3, 1, 2)
