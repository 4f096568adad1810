"""Layers that the networks share."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet.ops.results import motion_dtype


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Turn autocast off for the device of `x`; the meta device has none."""
    if not torch.amp.is_autocast_available(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def widened(x: Tensor) -> Tensor:
    """In at least float32: long sums, logarithms and coordinates lose too much precision in bfloat16."""
    return x.to(motion_dtype(x.dtype))


class GroupNorm(nn.GroupNorm):
    """Group normalisation with up to 16 channels per group, in the dtype of its input.

    It does not depend on the rest of the batch: N ranks with one sample each give the same results as one rank with
    N, and so do training and evaluation mode. On CUDA, autocast would widen its input and
    result to float32 and so double the traffic of a memory-bound layer; sums are in float32 anyway.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(max(channels // 16, 1), channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and dtype."""
        with without_autocast(x):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class Head(nn.Conv2d):
    """A convolution in the precision of its weights, even under autocast.

    Its outputs are coordinates, logits and pixels. bfloat16 has steps of 1/256 below 1, wider than a pixel at 512, and
    soft-argmax multiplies its logits by ten: both would be visible as jitter.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W') in the dtype of the weights."""
        with without_autocast(x):
            return super().forward(x.to(self.weight.dtype))


def fused_heads(features: Tensor, *heads: Head) -> tuple[Tensor, ...]:
    """The outputs of heads with the same shape for the same features, computed by one convolution.

    Convolutions compute whole vectors of output channels: one channel costs as much as sixteen.
    """
    first = heads[0]
    with without_autocast(features):
        weight = torch.cat([head.weight for head in heads])
        bias = torch.cat([head.bias for head in heads])  # type: ignore[misc]  # each has one
        made = functional.conv2d(features.to(weight.dtype), weight, bias, padding=first.padding)
    return made.split([head.out_channels for head in heads], dim=1)


class ResidualBlock(nn.Module):
    """x + conv(act(conv(act(x)))), where act is normalisation and ReLU: the identity path stays unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = conv3(channels, channels), conv3(channels, channels)
        self.layers = nn.Sequential(*_act(channels), first, *_act(channels), second)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.layers(x)


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it with stride 2."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def _act(channels: int) -> tuple[nn.Module, nn.Module]:
    return GroupNorm(channels), nn.ReLU(inplace=True)


def conv_act(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution with its normalisation and ReLU."""
    return nn.Sequential(convolution, *_act(convolution.out_channels))
