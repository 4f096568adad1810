"""Small random arguments for calling modules of these models."""

from typing import Any

import torch
from torch import Tensor, nn

Arguments = dict[str, Any]


class Random:
    """Random tensors with a dtype and a device, the same every time, from a generator of their own."""

    def __init__(self, like: Tensor) -> None:
        self._generator = torch.Generator("cpu").manual_seed(0)
        self._like = like

    def image(self, channels: int, *size: int) -> Tensor:
        """(1, C, [D,] H, W) in [0, 1]."""
        return self._placed(self._uniform(1, channels, *size))

    def points(self, count: int, axes: int) -> Tensor:
        """(1, K, n), well inside the frame."""
        return self._placed(1.2 * self._uniform(1, count, axes) - 0.6)

    def jacobians(self, count: int, axes: int) -> Tensor:
        """(1, K, n, n), near the identity."""
        noise = 0.2 * self._uniform(1, count, axes, axes) - 0.1
        return self._placed(torch.eye(axes, device="cpu") + noise)

    def _uniform(self, *size: int) -> Tensor:
        """On the CPU, whatever `torch.set_default_device` is: there the numbers are the same on every machine."""
        return torch.rand(*size, generator=self._generator, device="cpu")

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._like)


def hourglass_side(hourglass: Any, scale_factor: float = 1) -> int:
    """The side of an image that is two pixels wide in the hourglass's middle; for volumes one, as they take longer."""
    halved = len(hourglass.encoder.down_blocks)
    is_3d = any(isinstance(part, nn.Conv3d) for part in hourglass.modules())
    return int(2 ** (halved if is_3d else halved + 1) / scale_factor)


def in_channels(module: nn.Module) -> int:
    """The input channels of a module's first convolution."""
    return next(part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Conv3d))).in_channels
