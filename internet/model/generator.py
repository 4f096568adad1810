"""Stage II: the frame, from features of the source warped by F and gated by M (Eq. 6)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from internet import ops
from internet.model.blocks import Head, ResidualBlock, conv3, conv_act, widened
from internet.model.motion import Motion, enlarged

#: With `blend`: the limit on the correction of M's logit, and how far M is kept from 0 and 1.
CORRECTION, EPSILON = 3.0, 1e-3


class Generator(nn.Module):
    r"""Encoder of the source and, as in pix2pixHD, one residual stage for each size.

    .. code-block:: text

        source ─► φ_2 (H) ─► φ_1 (H/2) ─► φ_0 (H/4)          encode: once per source
                   │          │            │
                  M·F        M·F          M·F                 Eq. 6: once per frame
                   ▼          ▼            ▼
        frame ◄─ stage 2 ◄─ stage 1 ◄─── stage 0              decode

    Each stage's input is the previous stage's output, upsampled, together with its own warped features. With `scales`
    "single" only the first stage has warped features, and the others only upsample (the paper's SS4x).

    With `blend`, which is not in the paper, the frame is M' · source warped by F + (1 - M') · what the layers paint:
    what is visible in the source keeps its sharpness without passing through the layers, which learn the rest. For
    this, F is composed at the frame's size (`Motion.fine_field`).
    M' is M with its odds corrected at the frame's size, by a factor of at most e^3. An unconstrained opacity was found
    to choose the warped source everywhere within some hundred steps; its sigmoid then has no gradient left, and nothing
    is ever painted.

    Args:
        channels: C_i of each level, from the motion field's size up to the frame's.
        blocks: residual blocks of each stage.
        scales: "multi" or "single".
        blend: mix the painted frame with the warped source.
        scene: with `blend`, the side of a picture of the scene without people, (1, 3, scene, scene), which takes the
            place of what the layers paint as far as the mixture's weights say background. It starts grey.
    """

    scene: Tensor | None

    def __init__(
        self,
        channels: Sequence[int] = (256, 128, 64),
        blocks: Sequence[int] = (9, 3, 3),
        scales: str = "multi",
        blend: bool = False,
        scene: int | None = None,
    ) -> None:
        super().__init__()
        finest_first = list(reversed(channels))
        self.first = conv_act(nn.Conv2d(3, finest_first[0], 7, padding=3))
        self.down = nn.ModuleList(conv_act(conv3(fine, coarse, stride=2)) for fine, coarse in pairwise(finest_first))
        self.warped_levels = len(channels) if scales == "multi" else 1
        stages = []
        for level, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            inputs = width if level < self.warped_levels else 0
            inputs += channels[level - 1] if level > 0 else 0
            stages.append(nn.Sequential(conv3(inputs, width), *(ResidualBlock(width) for _ in range(count))))
        self.stages = nn.ModuleList(stages)
        self.blend = blend
        self.register_buffer("scene", None if scene is None else torch.full((1, 3, scene, scene), 0.5))
        self.last = Head(finest_first[0], 4 if blend else 3, 7, padding=3)

    def encode(self, source: Tensor) -> list[Tensor]:
        """Source (B, 3, H, W) -> the features φ_i that are warped, (B, C_i, h·2^i, w·2^i), base size first.

        With `blend`, the source itself is last.
        """
        levels = [self.first(source)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels[::-1][: self.warped_levels]
        return [*features, source] if self.blend else features

    def decode(self, warped: Sequence[Tensor]) -> Tensor:
        """Warped features, in the shapes of :meth:`encode` -> what the layers paint, (B, 3, H, W) in [0, 1]."""
        return self._last(warped)[:, :3].sigmoid()

    def _last(self, warped: Sequence[Tensor]) -> Tensor:
        """Logits of the frame and, with `blend`, of the correction of M."""
        x = self.stages[0](warped[0])
        for level, stage in enumerate(self.stages[1:], start=1):
            parts = [functional.interpolate(x, scale_factor=2.0), *warped[level : min(level + 1, self.warped_levels)]]
            x = stage(torch.cat(parts, dim=1))
        logits: Tensor = self.last(functional.relu(x))
        return logits

    def forward(self, features: Sequence[Tensor], motion: Motion) -> Tensor:
        """Features of the source and a motion -> frame (B, 3, H, W) in [0, 1]."""
        warped = ops.pyramid_warp(features[: self.warped_levels], motion.field, motion.confidence)
        return self._blended(features[-1], motion, self._last(warped)) if self.blend else self.decode(warped)

    def _blended(self, source: Tensor, motion: Motion, logits: Tensor) -> Tensor:
        """The painted frame where M, corrected, is low, and the warped source where it is high."""
        moved = ops.confidence_warp(
            source, motion.field if motion.fine_field is None else motion.fine_field, padding_mode="border"
        )
        field, confidence = motion.field, motion.confidence
        while confidence.shape[2] < source.shape[2]:
            field, confidence = ops.upsample_motion(field, confidence)  # type: ignore[assignment]  # one came, one goes
        odds = torch.logit(widened(confidence), eps=EPSILON) + CORRECTION * logits[:, 3:].tanh()
        return torch.lerp(self._painted(logits[:, :3].sigmoid(), motion), widened(moved), odds.sigmoid())

    def _painted(self, frame: Tensor, motion: Motion) -> Tensor:
        """What is not in the source: what the layers paint and, where the background is seen, the scene if known."""
        if self.scene is None:
            return frame
        scene = functional.interpolate(self.scene, frame.shape[2:], mode="bilinear")
        return torch.lerp(frame, scene, enlarged(motion.logits, frame).softmax(1)[:, :1])
