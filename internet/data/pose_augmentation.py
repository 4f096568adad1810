"""New poses: the person of a clip, cut out part by part and drawn in another pose before the clip's background."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet import ops
from internet.data.body_parts import BodyParts
from internet.data.figure import BODY, generation
from internet.data.skeleton import Skeleton
from internet.geometry import identity_field
from internet.utils.optional import require
from internet.utils.settings import Section, setting

#: Pixels within this distance of the person's mask, or where the mask is above this value, are not background.
_MARGIN, _FREE = 2, 0.1

_NUMBERS = {part.name: number for number, part in enumerate(BODY)}
_TORSO, _HEAD = _NUMBERS["torso"], _NUMBERS["head"]
_PARENTS_FIRST = sorted(BODY, key=generation)


@dataclass(frozen=True)
class PoseAugmentation(Section):
    """A random pose: the person turned, moved and resized as a whole, and each part turned about its joint.

    Amounts are drawn evenly from -a to a; the factor of the size from 1 - a to 1 + a.
    """

    probability: float = setting(0.0, "that a frame shows its person in another pose", least=0, most=1)
    turn: float = setting(25.0, "a: the whole person is turned, degrees", least=0, most=180)
    limbs: float = setting(45.0, "a: each part is turned about its joint, degrees", least=0, most=180)
    shift: float = setting(0.15, "a: the person is moved, as a part of the frame's side", least=0, most=1)
    size: float = setting(0.1, "a: of the factor of the person's size", least=0, below=1)

    def __call__(
        self, frame: Tensor, parts: BodyParts, background: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, BodyParts]:
        """The frame and its parts in another pose or, at random, unchanged.

        Args:
            frame, background: (1, 3, S, S); the background is that of the clip (:func:`clip_background`).
            parts: of the frame.
        """
        chance, *draws = torch.rand(4 + len(BODY), generator=generator).tolist()
        if chance >= self.probability:
            return frame, parts
        amounts = 2 * np.array(draws) - 1
        ranges = [self.limbs if part.parent else self.turn for part in BODY]
        angles = np.radians(ranges) * amounts[3:]
        skeleton = _posed(parts.skeleton, angles, 1 + self.size * amounts[0], 2 * self.shift * amounts[1:3])
        return _drawn(skeleton, frame, parts, background)


def clip_background(frames: Sequence[Tensor], parts: Sequence[BodyParts]) -> Tensor:
    """What a still camera sees behind the person: the median of the frames (1, 3, S, S) where the person is not.

    Pixels that no frame shows are painted from their surroundings.
    """
    cv2 = require("cv2", "painting what no frame shows")
    masks = torch.stack([part.mask for part in parts])[:, None]
    person = functional.max_pool2d(masks, 2 * _MARGIN + 1, 1, _MARGIN) > _FREE
    seen = torch.cat(list(frames)).masked_fill(person, torch.nan).nanmedian(dim=0).values
    hidden = seen.isnan().any(0)
    picture = (seen.nan_to_num() * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    painted = cv2.inpaint(np.ascontiguousarray(picture), hidden.to(torch.uint8).numpy(), 3, cv2.INPAINT_TELEA)
    return torch.where(hidden, torch.from_numpy(painted).permute(2, 0, 1) / 255, seen)[None]


def _posed(skeleton: Skeleton, angles: np.ndarray, size: float, shift: np.ndarray) -> Skeleton:
    """Each part turned about its joint, then moved with its parent; the torso is turned about its middle."""
    neck = skeleton.start[_TORSO]  # between the shoulders
    pivots = skeleton.start.copy()
    pivots[_TORSO], pivots[_HEAD] = skeleton.middles[_TORSO], neck
    maps = np.empty((len(BODY), 3, 3))
    for part in _PARENTS_FIRST:
        number = _NUMBERS[part.name]
        if part.parent is None:
            maps[number] = _about(pivots[number], angles[number], size, shift)
        else:
            maps[number] = maps[_NUMBERS[part.parent]] @ _about(pivots[number], angles[number])
    return skeleton.moved(maps[:, :2])


def _about(pivot: np.ndarray, angle: float, size: float = 1.0, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """The map that turns and resizes about a point and then moves: (3, 3), homogeneous."""
    cosine, sine = size * math.cos(angle), size * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.vstack([np.column_stack([linear, pivot + shift - linear @ pivot]), [0.0, 0.0, 1.0]])


def _drawn(skeleton: Skeleton, frame: Tensor, parts: BodyParts, background: Tensor) -> tuple[Tensor, BodyParts]:
    """The person of a frame drawn in another pose before the background, and its parts."""
    size = len(parts.mask)
    anywhere = BodyParts(skeleton, torch.ones(size, size))
    motion, _ = anywhere.motion(parts)
    field = identity_field(size, size) + motion.permute(1, 2, 0)[None] * (2 / size)
    shown = functional.grid_sample(parts.labels.float()[None, None], field, "nearest", align_corners=False)[0, 0]
    person = (anywhere.labels > 0) & (anywhere.inside | (shown == anywhere.labels))
    mask = ops.confidence_warp(parts.mask[None, None], field)[0, 0] * person
    picture = ops.confidence_warp(frame, field, padding_mode="border")
    return torch.lerp(background, picture, mask), BodyParts(skeleton, mask)
