"""The sizes of an INTERnet's networks, and the presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from internet.utils.settings import Section, SettingError, plain, read, setting


@dataclass(frozen=True)
class INTERnetConfig(Section):
    """Sizes of the networks. The defaults are the preset ``internet-512``.

    The paper states the sizes of frame and motion field, ten anchors, a U-Net and a three-stage residual
    generator. Everything else is ours: pix2pixHD's and first-order-motion's numbers where they have one.

    With first-order-motion's stage I its sizes are fixed: the fields from `anchor_width` to `threshold` do not affect
    it. A mixture weight below `threshold` gets no gradient, so with a large threshold anchors can die.

    Raises:
        ValueError: "name is value, expected ...", for a field of a wrong type, out of range, or at odds with another.
    """

    size: int = setting(
        512,
        "side of the frames that it is meant for; any whose sides are multiples of `multiple` work",
        least=1,
        most=2**16,
    )
    anchors: int = setting(10, "K, how many local motions beside the still background", least=1, most=1000)
    stage_one: str = setting(
        "internet",
        "'first-order': the networks of first-order-motion, whose weights then fit",
        choices=("internet", "first-order"),
    )
    anchor_width: int = setting(
        32,
        "channels of the anchors' U-Net at its input's size; each coarser level has twice as many",
        least=1,
        most=2**14,
    )
    motion_width: int = setting(64, "channels of the motion's U-Net, likewise", least=1, most=2**14)
    widest: int = setting(512, "the most channels that a level of the U-Nets has", least=1, most=2**14)
    depth: int = setting(5, "levels of the U-Nets, each of half the size", least=1, most=12)
    temperature: float = setting(0.1, "of the soft-argmax that makes anchors of heat maps", least=1e-6)
    variance: float = setting(0.01, "of the Gaussians that represent anchors in the motion network's input", least=1e-6)
    threshold: float = setting(0.001, "soft threshold of the mixture weights (Eq. 5), below 1/(K+1)", least=0)
    channels: tuple[int, ...] = setting(
        (256, 128, 64), "of the generator's levels, from the motion field's size up to the frame's", least=1, most=2**14
    )
    blocks: tuple[int, ...] = setting(
        (9, 3, 3), "residual blocks of each of the generator's stages, in the same order", least=0, most=100
    )
    scales: str = setting(
        "multi",
        "'multi': every stage receives warped features; 'single': the first alone does (the paper's SS4x)",
        choices=("multi", "single"),
    )
    background: str = setting(
        "still",
        "'affine': predicted for each frame, for a camera that moves; not the paper's",
        choices=("still", "affine"),
    )
    blend: bool = setting(False, "mix what the generator paints with the source itself, moved by F; not the paper's")
    scene: bool = setting(
        False, "keep a picture of the one scene that it is trained on, to paint the uncovered ground; not the paper's"
    )
    discriminators: int = setting(
        3, "N_D of Eq. 8; each sees the frame at half the size of the one before", least=1, most=10
    )
    discriminator_width: int = setting(64, "channels of the discriminators' first layer", least=1, most=2**14)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must be of one length, at least 1")
        if self.threshold >= 1 / (self.anchors + 1):
            raise ValueError(f"threshold is {self.threshold}, expected at least 0 and below 1/{self.anchors + 1}")
        if self.stage_one == "first-order" and self.factor != 4:
            raise ValueError("stage_one 'first-order' works at a quarter of the frame's size: three levels of channels")
        if self.stage_one == "first-order" and self.background != "still":
            raise ValueError("stage_one 'first-order' has a still background")
        if self.scene and not (self.blend and self.background == "still"):
            raise ValueError("scene is True, expected False without blend, or with a background that moves")
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
        if name not in PRESETS:
            raise SettingError(f"preset is {name!r}, expected one of {', '.join(PRESETS)}")
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "INTERnetConfig":
        """The inverse of :meth:`to_dict`; an unknown field is a ValueError that names it."""
        return read(cls, fields)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain types, for configuration files and checkpoints."""
        fields: dict[str, Any] = plain(self)
        return fields


#: Presets by name: the fields that differ from the defaults.
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
        "background": "affine",
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
