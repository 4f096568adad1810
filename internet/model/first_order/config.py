"""The sizes of a first-order-motion model's networks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from internet.utils.settings import Section, plain, read, setting

#: Of the heads.
KERNEL_SIZE = 7


@dataclass(frozen=True)
class FirstOrderConfig(Section):
    """Sizes of the networks. The defaults are those of every published configuration but ``mgif-256``.

    Raises:
        ValueError: "name is value, expected ...", for a field of a wrong type, out of range, or at odds with another.
    """

    size: int = setting(256, "side of the frames that it was trained on", least=1, most=2**16)
    frame_channels: int = setting(3, "channels of a frame: 3 are RGB, 1 is its luma", least=1, most=2**10)
    anchors: int = setting(10, "K, how many local motions beside the still background", least=1, most=1000)
    jacobian_maps: int = setting(10, "K, 1 that all anchors share, or 0: every Jacobian is the identity", least=0)
    anchor_width: int = setting(32, "channels of the anchors' U-Net at its input's size", least=1, most=2**14)
    anchor_depth: int = setting(5, "its levels, each of half the size", least=1, most=12)
    anchor_widest: int = setting(1024, "the most channels that one of them has", least=1, most=2**14)
    anchor_scale: float = setting(0.25, "the size of its input over the frame's", least=1 / 64, most=1)
    temperature: float = setting(0.1, "of the soft-argmax that makes anchors of heat maps", least=1e-6)
    padding: int = setting(0, "of the heat maps' convolution", least=0, most=KERNEL_SIZE // 2)
    motion_width: int = setting(64, "channels of the motion's U-Net at its input's size", least=1, most=2**14)
    motion_depth: int = setting(5, "its levels", least=1, most=12)
    motion_widest: int = setting(1024, "the most channels that one of them has", least=1, most=2**14)
    motion_scale: float = setting(0.25, "the size of the motion field over the frame's", least=1 / 64, most=1)
    variance: float = setting(0.01, "of the Gaussians that represent anchors in the motion network's input", least=1e-6)
    confidence: bool = setting(True, "whether an occlusion map gates the warped features")
    generator_width: int = setting(64, "channels of the generator at the frame's size", least=1, most=2**14)
    generator_widest: int = setting(512, "the most channels that a level of it has", least=1, most=2**14)
    levels: int = setting(2, "how many times the generator halves the frame's size", least=0, most=12)
    blocks: int = setting(6, "its residual blocks", least=0, most=100)
    align_corners: bool = setting(False, "how frames and features are sampled: true before torch 1.3, false since")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jacobian_maps not in (0, 1, self.anchors):
            raise ValueError(f"jacobian_maps is {self.jacobian_maps}, expected 0, 1 or the {self.anchors} of anchors")
        if self.size % self.multiple:
            raise ValueError(f"size is {self.size}, expected a multiple of {self.multiple}")
        if self.size < self.smallest:
            raise ValueError(f"size is {self.size}, expected at least {self.smallest}")

    @property
    def multiple(self) -> int:
        """A frame's sides are multiples of this: the networks halve their inputs' sizes."""
        strides = (stride(self.anchor_scale) * 2**self.anchor_depth, stride(self.motion_scale) * 2**self.motion_depth)
        return math.lcm(*strides, 2**self.levels)

    @property
    def smallest(self) -> int:
        """The smallest side of a frame, which the heat maps' convolution needs."""
        return stride(self.anchor_scale) * (KERNEL_SIZE - 2 * self.padding)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "FirstOrderConfig":
        """The inverse of :meth:`to_dict`; an unknown field is a ValueError that names it."""
        return read(cls, fields)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain types, for checkpoints."""
        fields: dict[str, Any] = plain(self)
        return fields


def stride(scale: float) -> int:
    """The distance between the pixels that are taken from a blurred frame."""
    return int(1 / scale)
