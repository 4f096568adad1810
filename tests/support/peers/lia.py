"""LIA."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.support.peers.blocks import grid

SIZE, WIDTH, STYLE = 16, 4, 8


def filtered(x, kernel, up: int, pad: tuple[int, int]):
    """Zeros between the pixels, zeros around the image, and a small filter on every channel."""
    batch, channels, H, W = x.shape
    x = F.pad(x.reshape(batch, channels, H, 1, W, 1), [0, up - 1, 0, 0, 0, up - 1]).reshape(
        batch, channels, H * up, W * up
    )
    x = F.pad(x, [*pad, *pad]).flatten(0, 1).unsqueeze(1)
    x = F.conv2d(x, kernel.flip(0, 1)[None, None])
    return x.view(batch, channels, *x.shape[2:])


def kernel_of(line: list[int]) -> torch.Tensor:
    kernel = torch.tensor(line, dtype=torch.float32)
    kernel = kernel[:, None] * kernel
    return kernel / kernel.sum()


class Blur(nn.Module):
    def __init__(self, line: list[int], pad: tuple[int, int], gain: float = 1):
        super().__init__()
        self.register_buffer("kernel", kernel_of(line) * gain)
        self.pad = pad

    def forward(self, input):
        return filtered(input, self.kernel, 1, self.pad)


class Upsample(nn.Module):
    def __init__(self, line: list[int], factor: int = 2):
        super().__init__()
        self.factor = factor
        self.register_buffer("kernel", kernel_of(line) * factor**2)
        p = len(line) - factor
        self.pad = ((p + 1) // 2 + factor - 1, p // 2)

    def forward(self, input):
        return filtered(input, self.kernel, self.factor, self.pad)


class FusedLeakyReLU(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(0.1 * torch.randn(1, channels, 1, 1))
        self.negative_slope, self.scale = 0.2, 2**0.5

    def forward(self, input):
        return F.leaky_relu(input + self.bias, self.negative_slope) * self.scale


class EqualConv2d(nn.Module):
    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, kernel, kernel))
        self.scale, self.stride, self.padding = 1 / math.sqrt(inside * kernel**2), stride, padding

    def forward(self, x):
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class ResBlock(nn.Module):
    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(inside, inside, 3, padding=1), FusedLeakyReLU(inside))
        self.conv2 = nn.Sequential(
            Blur([1, 3, 3, 1], (2, 2)), EqualConv2d(inside, outside, 3, 2), FusedLeakyReLU(outside)
        )
        self.skip = nn.Sequential(Blur([1, 3, 3, 1], (1, 1)), EqualConv2d(inside, outside, 1, 2))

    def forward(self, x):
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class EncoderApp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(EqualConv2d(3, WIDTH, 1), FusedLeakyReLU(WIDTH))])
        self.convs += [ResBlock(WIDTH, WIDTH) for _ in range(int(math.log2(SIZE)) - 2)]
        self.convs.append(EqualConv2d(WIDTH, STYLE, 4))

    def forward(self, x):
        outs = []
        for conv in self.convs:
            x = conv(x)
            outs.append(x)
        return outs[-1].flatten(1), outs[::-1][2:]


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net_app = EncoderApp()
        self.fc = nn.Linear(STYLE, STYLE)

    def forward(self, input_source, input_target, h_start=None):
        code, features = self.net_app(input_source)
        if input_target is None:
            return code, None, features
        motion = [self.fc(self.net_app(input_target)[0])]
        return code, motion if h_start is None else [*motion, self.fc(code), h_start], features


class ModulatedConv2d(nn.Module):
    def __init__(self, inside: int, outside: int, kernel: int, demodulate: bool = True):
        super().__init__()
        self.in_channel, self.out_channel, self.kernel_size, self.demodulate = inside, outside, kernel, demodulate
        self.weight = nn.Parameter(torch.randn(1, outside, inside, kernel, kernel))
        self.modulation = nn.Linear(STYLE, inside)

    def forward(self, input, style):
        batch, channels, H, W = input.shape
        weight = self.weight * self.modulation(style).view(batch, 1, channels, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        weight = weight.view(batch * self.out_channel, channels, self.kernel_size, self.kernel_size)
        out = F.conv2d(input.view(1, batch * channels, H, W), weight, padding=self.kernel_size // 2, groups=batch)
        return out.view(batch, self.out_channel, H, W)


class ToFlow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample = Upsample([1, 3, 3, 1])
        self.conv = ModulatedConv2d(WIDTH, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, input, style, feat, skip=None):
        out = self.conv(input, style) + self.bias
        if skip is not None:
            out = out + self.upsample(skip)
        field = torch.tanh(out[:, :2]).permute(0, 2, 3, 1) + grid(*input.shape[2:], like=input.double()).float()
        mask = torch.sigmoid(out[:, 2:3])
        warped = F.grid_sample(feat, field, align_corners=False) * mask
        return warped, warped + input * (1 - mask), out


class Synthesis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, WIDTH, SIZE // 4, SIZE // 4))
        levels = 2
        self.convs = nn.ModuleList(ModulatedConv2d(WIDTH, WIDTH, 3) for _ in range(levels))
        self.activations = nn.ModuleList(FusedLeakyReLU(WIDTH) for _ in range(levels))
        self.ups = nn.ModuleList(Upsample([1, 3, 3, 1]) for _ in range(levels))
        self.to_flows = nn.ModuleList(ToFlow() for _ in range(levels))
        self.to_rgb = EqualConv2d(WIDTH, 3, 1)

    def forward(self, latent, features):
        out, skip = self.input.repeat(len(latent), 1, 1, 1), None
        for up, conv, activate, flow, feature in zip(
            self.ups, self.convs, self.activations, self.to_flows, features, strict=True
        ):
            out = activate(conv(up(out), latent))
            warped, out, skip = flow(out, latent, feature, skip)
        return self.to_rgb(warped)


class Generator(nn.Module):
    """LIA: called with a source and a driving image."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = Encoder(), Synthesis()

    def forward(self, source, driving):
        code, motion, features = self.enc(source, driving, self.enc.fc(self.enc.net_app(driving)[0]))
        return self.dec(code + motion[0] - motion[2] + motion[1], features)
