"""What an INTERnet is made of, in numbers, and the presets."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAGES_ONE = ("internet", "first-order")
SCALES = ("multi", "single")
_COUNTS = (
    "size",
    "anchors",
    "anchor_width",
    "motion_width",
    "widest",
    "depth",
    "discriminators",
    "discriminator_width",
)


@dataclass(frozen=True)
class INTERnetConfig:
    """Sizes of the networks. The defaults are the preset ``internet-512``.

    The paper states the sizes of frame and motion field, ten anchors, a U-Net and a three-stage residual
    generator. Everything else is ours: pix2pixHD's and first-order-motion's numbers where they have one.

    Attributes:
        size: side of the frames it is meant for. It runs on any whose sides are multiples of :attr:`multiple`.
        anchors: K, how many local motions beside the still background.
        stage_one: "internet", or "first-order": the networks of first-order-motion, whose weights then fit. Their sizes
            are fixed: the fields from anchor_width to threshold do not touch them.
        anchor_width, motion_width: channels of the U-Nets' input level; each coarser level has twice as many, up to
            `widest`.
        widest: the most channels that a level of the U-Nets has.
        depth: levels of the U-Nets, each of half the size.
        temperature: of the soft-argmax that makes anchors of heat maps.
        variance: of the Gaussians that stand for anchors in the motion network's input.
        threshold: soft threshold of the mixture weights (Eq. 5), below 1/(K+1). A weight under it takes no gradient:
            a large one lets anchors die.
        channels: of the generator's levels, from the motion field's size up to the frame's.
        blocks: residual blocks of each of the generator's stages, in the same order.
        scales: "multi": every stage receives warped features. "single": the first alone does (the paper's SS4x).
        blend: mix what the generator paints with the source itself, moved by F; not the paper's.
        discriminators: N_D of Eq. 8; each sees the frame at half the size of the one before.
        discriminator_width: channels of the discriminators' first layer.
    """

    size: int = 512
    anchors: int = 10
    stage_one: str = "internet"
    anchor_width: int = 32
    motion_width: int = 64
    widest: int = 512
    depth: int = 5
    temperature: float = 0.1
    variance: float = 0.01
    threshold: float = 0.001
    channels: tuple[int, ...] = (256, 128, 64)
    blocks: tuple[int, ...] = (9, 3, 3)
    scales: str = "multi"
    blend: bool = False
    discriminators: int = 3
    discriminator_width: int = 64

    def __post_init__(self) -> None:
        _one_of("stage_one", self.stage_one, STAGES_ONE)
        _one_of("scales", self.scales, SCALES)
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must be of one length, at least 1")
        if not 0 <= self.threshold < 1 / (self.anchors + 1):
            raise ValueError(f"threshold is {self.threshold}, expected 0 <= threshold < 1/{self.anchors + 1}")
        if self.stage_one == "first-order" and self.factor != 4:
            raise ValueError("stage_one 'first-order' works at a quarter of the frame's size: three levels of channels")
        if self.size % self.multiple:
            raise ValueError(f"size is {self.size}, expected a multiple of {self.multiple}")

    @property
    def factor(self) -> int:
        """How many times smaller than the frame the motion field is."""
        return 2 ** (len(self.channels) - 1)

    @property
    def base(self) -> int:
        """Side of the motion field F^0."""
        return self.size // self.factor

    @property
    def multiple(self) -> int:
        """A frame's sides are multiples of this: the U-Nets halve the motion field's size `depth` times."""
        depth = 5 if self.stage_one == "first-order" else self.depth
        return self.factor * 2**depth

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "INTERnetConfig":
        """A preset by name, with fields replaced by `changes`."""
        _one_of("preset", name, tuple(PRESETS))
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "INTERnetConfig":
        """The inverse of :meth:`to_dict`; an unknown field is a ValueError that names it."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in fields:
            if name not in known:
                raise ValueError(f"the model has no field '{name}', expected one of {', '.join(sorted(known))}")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain types, for configuration files and checkpoints."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


#: By name, what differs from the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "internet-512": {},
    "internet-256": {"size": 256, "discriminators": 2},
    "figures": {
        "size": 128,
        "anchors": 12,
        "anchor_width": 16,
        "motion_width": 32,
        "widest": 128,
        "depth": 4,
        "channels": (64, 32),
        "blocks": (6, 2),
        "blend": True,
        "discriminators": 1,
        "discriminator_width": 32,
    },
    "tiny": {
        "size": 128,
        "anchor_width": 16,
        "motion_width": 32,
        "widest": 128,
        "depth": 3,
        "channels": (64, 32, 16),
        "blocks": (3, 1, 1),
        "discriminators": 1,
        "discriminator_width": 16,
    },
}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected {' or '.join(map(repr, allowed))}")
