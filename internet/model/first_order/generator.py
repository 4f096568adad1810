"""First-order-motion's generator: one level of features, warped, gated, and decoded."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.model.blocks import Head, conv3
from internet.model.first_order.config import FirstOrderConfig
from internet.model.motion import Motion
from internet.model.unet import ConvBlock, DownBlock, UpBlock


class ResidualBlock(nn.Module):
    """x + conv(ReLU(norm(conv(ReLU(norm(x)))))), the norm being batch normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(channels, channels), conv3(channels, channels)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        inner = self.conv1(functional.relu(self.norm1(x), inplace=True))
        return x + self.conv2(functional.relu(self.norm2(inner), inplace=True))


class FirstOrderGenerator(nn.Module):
    r"""The network of Johnson et al. (ECCV 2016), whose features are warped in the middle.

    .. code-block:: text

        source ─► first (H) ─► down blocks ─► φ (H/4)          encode: once per source
                                              │
                                             M·F               once per frame
                                              ▼
        frame ◄─ final (H) ◄─ up blocks ◄─ residual blocks

    A field or map whose size is not that of φ is resized bilinearly, in one step.

    Args:
        config: its `generator_width`, `generator_widest`, `levels`, `blocks`, `frame_channels` and `align_corners`.
    """

    def __init__(self, config: FirstOrderConfig) -> None:
        super().__init__()
        widths = [min(config.generator_width * 2**level, config.generator_widest) for level in range(config.levels + 1)]
        self.first = ConvBlock(config.frame_channels, config.generator_width, nn.BatchNorm2d, 7)
        self.down_blocks = nn.ModuleList(DownBlock(*pair, nn.BatchNorm2d) for pair in pairwise(widths))
        self.bottleneck = nn.Sequential()
        for index in range(config.blocks):
            self.bottleneck.add_module(f"r{index}", ResidualBlock(widths[-1]))
        self.up_blocks = nn.ModuleList(UpBlock(*pair, nn.BatchNorm2d) for pair in pairwise(widths[::-1]))
        self.final = Head(config.generator_width, config.frame_channels, 7, padding=3)
        self.align_corners = config.align_corners

    def encode(self, source: Tensor) -> list[Tensor]:
        """Source (B, C, H, W) -> the features φ that are warped, (B, C', h, w), as a list of one."""
        x = self.first(source)
        for block in self.down_blocks:
            x = block(x)
        return [x]

    def warp(self, features: Tensor, motion: Motion) -> Tensor:
        """Features (B, C, h, w) of the source -> warped by the motion, times its confidence."""
        return ops.confidence_warp(
            features, motion.field, motion.confidence, upsampling="interpolate", align_corners=self.align_corners
        )

    def forward(self, features: list[Tensor], motion: Motion) -> Tensor:
        """Features of the source and a motion -> frame (B, C, H, W) in [0, 1]."""
        x = self.bottleneck(self.warp(features[0], motion))
        for block in self.up_blocks:
            x = block(x)
        frame: Tensor = self.final(x)
        return frame.sigmoid()
