"""The convolutional blocks of first-order-motion and its descendants."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def grid(*size: int, like: Tensor) -> Tensor:
    """([D,] H, W, n) coordinates of the pixels, x first, ends at -1 and 1."""
    lines = [torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device) for length in size]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)


def gaussians(points: Tensor, size: tuple[int, ...], variance: float | Tensor) -> Tensor:
    """(B, K, [D,] H, W) of points (B, K, n), with one variance or covariances (B, K, n, n)."""
    n = len(size)
    offset = grid(*size, like=points) - points.view(*points.shape[:2], *[1] * n, n)
    if isinstance(variance, Tensor):
        inverse = torch.inverse(variance).view(*points.shape[:2], *[1] * n, n, n)
        squares = (offset.unsqueeze(-2) @ inverse @ offset.unsqueeze(-1)).sum((-1, -2))
    else:
        squares = offset.square().sum(-1) / variance
    return torch.exp(-0.5 * squares)


def resized(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape[2:] == like.shape[2:] else F.interpolate(x, like.shape[2:], mode="bilinear")


class Block(nn.Module):
    def __init__(
        self, inside: int, outside: int, *, axes: int = 2, norm: str = "batch", kernel: int = 3, leaks: bool = False
    ):
        super().__init__()
        self.conv = (nn.Conv2d if axes == 2 else nn.Conv3d)(inside, outside, kernel, padding=kernel // 2)
        self.norm = make_norm(norm, outside, axes)
        if leaks:
            self.ac = nn.LeakyReLU()


def make_norm(norm: str, channels: int, axes: int) -> nn.Module:
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    made = (nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d)(channels)
    with torch.no_grad():  # statistics as after some training
        made.running_mean.uniform_(-0.3, 0.3)
        made.running_var.uniform_(0.5, 2)
        made.weight.uniform_(0.5, 1.5)
        made.bias.uniform_(-0.3, 0.3)
    return made


class SameBlock2d(Block):
    def forward(self, x):
        activation = self.ac if hasattr(self, "ac") else F.relu
        return activation(self.norm(self.conv(x)))


class DownBlock2d(Block):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x):
        return self.pool(F.relu(self.norm(self.conv(x))))


class DownBlock3d(Block):
    def __init__(self, inside: int, outside: int):
        super().__init__(inside, outside, axes=3)
        self.pool = nn.AvgPool3d((1, 2, 2))

    def forward(self, x):
        return self.pool(F.relu(self.norm(self.conv(x))))


class UpBlock2d(Block):
    def forward(self, x):
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2))))


class UpBlock3d(Block):
    def __init__(self, inside: int, outside: int):
        super().__init__(inside, outside, axes=3)

    def forward(self, x):
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=(1, 2, 2)))))


class ResBlock2d(nn.Module):
    def __init__(self, channels: int, *, axes: int = 2, norm: str = "batch"):
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.conv1, self.conv2 = (conv(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (make_norm(norm, channels, axes) for _ in range(2))

    def forward(self, x):
        out = self.conv1(F.relu(self.norm1(x)))
        return self.conv2(F.relu(self.norm2(out))) + x


class ResBlock3d(ResBlock2d):
    def __init__(self, channels: int):
        super().__init__(channels, axes=3)


class Encoder(nn.Module):
    def __init__(self, inside: int, width: int, depth: int, down, **options):
        super().__init__()
        widths = [inside, *(width * 2**i for i in range(1, depth + 1))]
        self.down_blocks = nn.ModuleList(down(a, b, **options) for a, b in itertools.pairwise(widths))

    def forward(self, x):
        outs = [x]
        for block in self.down_blocks:
            outs.append(block(outs[-1]))
        return outs


class Decoder(nn.Module):
    def __init__(self, inside: int, width: int, depth: int, up, **options):
        super().__init__()
        blocks = []
        for i in reversed(range(depth)):
            blocks.append(up((1 if i == depth - 1 else 2) * width * 2 ** (i + 1), width * 2**i, **options))
        self.up_blocks = nn.ModuleList(blocks)
        self.out_filters = width + inside

    def forward(self, outs):
        x, *skips = outs[::-1]
        made = []
        for block, skip in zip(self.up_blocks, skips, strict=True):
            x = torch.cat([block(x), skip], 1)
            made.append(x)
        return made


class Hourglass(nn.Module):
    def __init__(self, inside: int, width: int = 4, depth: int = 2, *, axes: int = 2, **options):
        super().__init__()
        self.encoder = Encoder(inside, width, depth, DownBlock2d if axes == 2 else DownBlock3d, **options)
        self.decoder = Decoder(inside, width, depth, UpBlock2d if axes == 2 else UpBlock3d, **options)
        self.out_filters = self.decoder.out_filters

    def forward(self, x, mode: int = 0):
        outs = self.decoder(self.encoder(x))
        return outs if mode else outs[-1]


class AntiAliasInterpolation2d(nn.Module):
    def __init__(self, channels: int, scale: float):
        super().__init__()
        sigma = (1 / scale - 1) / 2
        side = 2 * round(sigma * 4) + 1
        self.ka = self.kb = side // 2
        line = torch.exp(-((torch.arange(side) - side // 2) ** 2) / (2 * sigma**2))
        line = line / line.sum()
        self.register_buffer("weight", (line[:, None] * line).expand(channels, 1, side, side).clone())
        self.groups, self.scale, self.int_inv_scale = channels, scale, int(1 / scale)

    def forward(self, input):
        x = F.conv2d(F.pad(input, [self.ka] * 4), self.weight, groups=self.groups)
        return x[:, :, :: self.int_inv_scale, :: self.int_inv_scale]
