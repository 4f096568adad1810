"""First-order-motion's stage I: INTERnet's networks with other options.

Batch normalisation, Gaussian anti-aliasing before subsampling, unpadded heat maps, no threshold, and a mix of
coordinate conventions: its grids are made as with ``align_corners=True``, but sampled as with ``False`` (since torch
1.3). Its occlusion map is the confidence.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.model.anchors import AnchorDetector
from internet.model.blocks import without_autocast
from internet.model.first_order.config import FirstOrderConfig, stride
from internet.model.motion import MotionEstimator


class GaussianDown(nn.Module):
    """(B, C, H, W) -> (B, C, H/f, W/f): a Gaussian blur with σ = (1/scale - 1)/2, then the first of every f pixels.

    f is 1/scale, rounded down.
    """

    weight: Tensor

    def __init__(self, channels: int = 3, scale: float = 0.25) -> None:
        super().__init__()
        sigma = (1 / scale - 1) / 2
        radius = round(4 * sigma)
        line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
        kernel = torch.outer(line, line) / line.sum() ** 2
        self.register_buffer("weight", kernel.repeat(channels, 1, 1, 1))
        self.radius, self.stride = radius, stride(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/f, W/f)."""
        with without_autocast(x):
            groups = self.weight.shape[0]
            return functional.conv2d(x, self.weight, stride=self.stride, padding=self.radius, groups=groups)


def key_point_detector(config: FirstOrderConfig) -> AnchorDetector:
    """First-order-motion's KPDetector."""
    return AnchorDetector(
        config.anchors,
        _down(config.frame_channels, config.anchor_scale),
        config.anchor_width,
        config.anchor_depth,
        config.anchor_widest,
        channels=config.frame_channels,
        jacobian_maps=config.jacobian_maps,
        temperature=config.temperature,
        normalisation=nn.BatchNorm2d,
        padding=config.padding,
        border=False,
        align_corners=True,
    )


def dense_motion_network(config: FirstOrderConfig) -> MotionEstimator:
    """First-order-motion's DenseMotionNetwork."""
    return MotionEstimator(
        config.anchors,
        _down(config.frame_channels, config.motion_scale),
        config.motion_width,
        config.motion_depth,
        config.motion_widest,
        channels=config.frame_channels,
        confidence=config.confidence,
        variance=config.variance,
        normalisation=nn.BatchNorm2d,
        align_corners=config.align_corners,
        grid_align_corners=True,
    )


def _down(channels: int, scale: float) -> nn.Module:
    return nn.Identity() if scale == 1 else GaussianDown(channels, scale)
