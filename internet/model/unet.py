"""The U-Net of stage I.

Architecture and parameter names are those of first-order-motion's hourglass, whose weights therefore fit
(:mod:`internet.model.first_order`). Each level halves the size and doubles the channels, up to a limit; in the
decoder each level is concatenated with the encoder's features of its size, including the input itself.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.model.blocks import GroupNorm

Normalisation = Callable[[int], nn.Module]


class ConvBlock(nn.Module):
    """Convolution of an odd kernel size, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, normalisation: Normalisation, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2)
        self.norm = normalisation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class DownBlock(ConvBlock):
    """Convolution, normalisation, ReLU, 2x2 average pooling."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2)."""
        return functional.avg_pool2d(super().forward(x), 2)


class UpBlock(ConvBlock):
    """Nearest-neighbour upsampling, convolution, normalisation, ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', 2H, 2W)."""
        return super().forward(functional.interpolate(x, scale_factor=2.0))


class Encoder(nn.Module):
    """The contracting half."""

    def __init__(self, widths: list[int], normalisation: Normalisation) -> None:
        """`widths`: channels of each level, the input's first."""
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock(fine, coarse, normalisation) for fine, coarse in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> every level, (B, C_i, H/2^i, W/2^i) for i = 0 (the input) ... depth."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """The expanding half, with `out_channels` at its end."""

    def __init__(self, widths: list[int], outputs: list[int], normalisation: Normalisation) -> None:
        """`widths`: channels of the encoder's levels; `outputs`: output channels of each of its levels but the last."""
        super().__init__()
        blocks, channels = [], widths[-1]
        for skip, made in zip(reversed(widths[:-1]), reversed(outputs), strict=True):
            blocks.append(UpBlock(channels, made, normalisation))
            channels = made + skip
        self.up_blocks = nn.ModuleList(blocks)
        self.out_channels = channels

    def forward(self, levels: list[Tensor]) -> Tensor:
        """The encoder's levels -> (B, out_channels, H, W)."""
        x = levels[-1]
        for block, skip in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return x


class UNet(nn.Module):
    """(B, C, H, W) -> features (B, width + C, H, W); H and W are multiples of 2^depth.

    Args:
        in_channels: C.
        width: output channels at the input's size; level i has width * 2^i, but at most `widest`.
        depth: how often the size is halved.
        normalisation: makes the normalisation layer for a number of channels.
    """

    def __init__(
        self, in_channels: int, width: int, depth: int, widest: int, normalisation: Normalisation = GroupNorm
    ) -> None:
        super().__init__()
        made = [min(width * 2**level, widest) for level in range(depth + 1)]
        widths = [in_channels, *made[1:]]
        self.encoder = Encoder(widths, normalisation)
        self.decoder = Decoder(widths, made[:-1], normalisation)
        self.out_channels = self.decoder.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        features: Tensor = self.decoder(self.encoder(x))
        return features
