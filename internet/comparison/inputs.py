"""Random inputs of the operators, and functions over the tensors in nested arguments and results."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from internet.geometry import identity_grid
from internet.ops.results import motion_dtype

ANCHORS = 10
LAYOUTS = {
    "contiguous": {4: torch.contiguous_format, 5: torch.contiguous_format},
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
}
"""By name and number of axes."""

MOTIONS = ("smooth", "identity", "constant", "one pixel", "random", "outside")
"""Kinds of field: like a network's; identity; all shifted by one; all at one position; random; outside."""

Inputs = dict[str, Any]


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and mappings; anything else is skipped."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in tensors(item)]


def size_in_bytes(value: Any) -> int:
    """The size in bytes of all tensors in `value`."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(value))


@dataclass(frozen=True)
class Maker:
    """Makes random tensors of one dtype, layout and device, the same ones every time."""

    dtype: torch.dtype
    layout: str
    device: torch.device
    motion: str = "smooth"

    @functools.cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(0)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _still(self, *size: int) -> Tensor:
        return identity_grid(size, align_corners=False, like=torch.empty(0, device=self.device))

    def data(self, *shape: int) -> Tensor:
        return self._normal(*shape).to(self.dtype).contiguous(memory_format=LAYOUTS[self.layout][len(shape)])

    def smooth_data(self, batch: int, channels: int, *size: int) -> Tensor:
        """Smooth, like the output of a network's last layer: unit variance at a few knots."""
        knots = self._normal(batch, channels, *[5] * len(size))
        mode = "bilinear" if len(size) == 2 else "trilinear"
        values = F.interpolate(knots, size=size, mode=mode, align_corners=True).to(self.dtype)
        return values.contiguous(memory_format=LAYOUTS[self.layout][values.dim()])

    def coordinates(self, values: Tensor) -> Tensor:
        return values.to(motion_dtype(self.dtype)).contiguous()

    def confidence(self, batch: int, size: int, *depth: int) -> Tensor:
        """(B, 1, size, size), or for a volume of `depth` slices."""
        return self.coordinates(self._uniform(batch, 1, *depth, size, size))

    def _smooth(self, batch: int, *size: int) -> Tensor:
        """(B, n, *size) with n the number of axes; unit variance at a few knots."""
        axes = len(size)
        knots = self._normal(batch, axes, *[5] * axes)
        return F.interpolate(knots, size=size, mode="bicubic" if axes == 2 else "trilinear", align_corners=True)

    def _field(self, batch: int, *size: int, amplitude: float) -> Tensor:
        """(B, *size, n); smooth fields move by about `amplitude`."""
        still = self._still(*size).expand(batch, *[-1] * (len(size) + 1))
        if self.motion == "smooth":
            return still + amplitude * self._smooth(batch, *size).movedim(1, -1)
        if self.motion == "random":
            return 2 * self._uniform(*still.shape) - 1
        if self.motion == "one pixel":
            return torch.full_like(still, 0.3)
        return still + {"identity": 0.0, "constant": 0.0613, "outside": 3.0}[self.motion]

    def motion_field(self, batch: int, size: int, *depth: int) -> Tensor:
        """(B, size, size, 2), or for a volume of `depth` slices."""
        return self.coordinates(self._field(batch, *depth, size, size, amplitude=0.1))

    def optical_flow(self, batch: int, size: int) -> Tensor:
        """In pixels; smooth flows move by about four."""
        pixel = 2 / size
        motion = self._field(batch, size, size, amplitude=4 * pixel) - self._still(size, size)
        return self.coordinates((motion / pixel).permute(0, 3, 1, 2))

    def anchors(self, batch: int) -> Inputs:
        """Anchors all over the frame; Jacobians near the identity, as they are at the start of training."""

        def jacobian() -> Tensor:
            return torch.eye(2, device=self.device) + 0.1 * self._normal(batch, ANCHORS, 2, 2)

        made = {**self.points(batch, ANCHORS, 2), "jac_source": jacobian(), "jac_driving": jacobian()}
        return {name: self.coordinates(values) for name, values in made.items()}

    def points(self, batch: int, count: int, axes: int) -> Inputs:
        """Key points all over the frame, of anchors without Jacobians."""
        made = {name: 1.6 * self._uniform(batch, count, axes) - 0.8 for name in ("kp_source", "kp_driving")}
        return {name: self.coordinates(values) for name, values in made.items()}
