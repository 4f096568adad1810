"""The parts of a filmed person, from key points of the body: what is known of drawn figures, known of people too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet.data.figure import BODY
from internet.geometry import identity_field


class BodyPose(Protocol):
    """The key points of one person in a frame of H x W pixels, in BlazePose's order.

    points: (33, 2), x first, in pixels; the middle of pixel j is j + 0.5. depth: (33,), larger is further away.
    mask: (H, W) in [0, 1], where the person is seen.
    """

    @property
    def points(self) -> np.ndarray: ...

    @property
    def depth(self) -> np.ndarray: ...

    @property
    def mask(self) -> np.ndarray: ...


PoseFunction = Callable[[np.ndarray], BodyPose | None]
"""A frame, uint8 (H, W, 3) -> its person's pose, or None if nobody is seen."""

#: The key points whose mean is the beginning of a part, and those of its end: for limbs the left ones; the right one of
#: a pair has the next number. "Far" limbs of a drawn figure are the right ones.
_ENDS = {
    "head": ((2, 5, 7, 8), (9, 10, 11, 12)),  # from eyes and ears to mouth and shoulders
    "torso": ((11, 12), (23, 24)),
    "upper arm": ((11,), (13,)),
    "forearm": ((13,), (17, 19)),  # the hand goes with it
    "thigh": ((23,), (25,)),
    "shin": ((25,), (27,)),
    "foot": ((27, 29), (31,)),
}
#: A limb that points at the camera is not taken for shorter than this part of its length.
_SHORTEST = 0.25
#: A pixel of the person that is further from every part than so many radii belongs to none.
_REACH = 3.0
#: Whether the person is seen in a pixel: at least half of it.
_SEEN = 0.5


@dataclass(frozen=True)
class BodyParts:
    """Twelve rigid parts, in the order of :data:`internet.data.figure.BODY`, in a square frame of S x S pixels.

    middles: float32 (12, 2), x first, normalised to [-1, 1]; of the head between eyes and ears.
    turns: float32 (12, 2, 2), each part's rotation and size: across the part by the size of the whole person, along it
        by its own length, which turning towards the camera shortens; 1 is a drawn figure's.
    labels: uint8 (S, S), the part that is seen, 1 to 12; 0 is the background.
    """

    middles: Tensor
    turns: Tensor
    labels: Tensor

    @classmethod
    def of(cls, pose: BodyPose, size: int) -> "BodyParts":
        """The parts of a pose in a square frame, as seen in one of `size` x `size` pixels."""
        side = pose.mask.shape[0]
        skeleton = _Skeleton(pose.points * (2 / side) - 1, pose.depth)
        mask = functional.interpolate(_tensor(pose.mask)[None, None], size=(size, size), mode="area")[0, 0]
        nearest = skeleton.nearest(identity_field(size, size).view(-1, 2).numpy())
        labels = _tensor(nearest).view(size, size) * (mask >= _SEEN)
        return cls(_tensor(skeleton.middles), _tensor(skeleton.turns), labels.to(torch.uint8))

    @property
    def nbytes(self) -> int:
        """What they take in memory."""
        return self.middles.nbytes + self.turns.nbytes + self.labels.nbytes

    def motion(self, source: "BodyParts") -> tuple[Tensor, Tensor]:
        """The flow from this frame to another of the same person, float32 (2, S, S) in pixels, and what is visible.

        A pixel moves with its part, by Eq. 5's :math:`z \\mapsto p_S + J_S J_D^{-1} (z - p_D)`; the background is
        still. The second result is float32 (1, S, S): 1 where the source shows the same part there, or beside it by a
        pixel, and for the background where nothing of the person is as near as that.
        """
        size = len(self.labels)
        start = identity_field(size, size).view(-1, 2)
        label = self.labels.flatten().long()
        linear = torch.cat([torch.eye(2)[None], source.turns @ self.turns.inverse()])[label]
        still = torch.zeros(1, 2)
        ours, theirs = (torch.cat([still, parts.middles])[label] for parts in (self, source))
        end = theirs + (linear @ (start - ours)[..., None])[..., 0]
        flow = (end - start) * (size / 2)
        nearest = ((end + 1) * (size / 2) - 0.5).round().long()
        inside = ((nearest >= 0) & (nearest < size)).all(1)
        x, y = nearest.clamp(0, size - 1).unbind(1)
        visible = inside & source._shown[label, y, x]
        return flow.T.reshape(2, size, size).contiguous(), visible.float().view(1, size, size)

    @property
    def _shown(self) -> Tensor:
        """Where each part may be taken for seen, and the background surely is: bool (13, S, S)."""
        seen = torch.stack([self.labels == part for part in range(len(BODY) + 1)]).float()
        grown = functional.max_pool2d(seen[1:], 3, 1, 1)
        return torch.cat([1 - grown.amax(0, keepdim=True), grown]) > 0


class _Skeleton:
    """The parts as capsules between key points, normalised to [-1, 1]."""

    def __init__(self, points: np.ndarray, depth: np.ndarray) -> None:
        ends = np.array([[points[list(numbers)].mean(0) for numbers in _ends(part.name)] for part in BODY])
        self.depth = np.array([depth[list(sum(_ends(part.name), ()))].mean() for part in BODY])
        self.start, self.along = ends[:, 0], ends[:, 1] - ends[:, 0]
        self.length = np.hypot(*self.along.T).clip(min=1e-6)
        drawn = np.array([part.length for part in BODY])
        long = np.array([part.name != "head" for part in BODY])  # a head is round, and has no length to speak of
        scale = self.length[long].sum() / drawn[long].sum()
        self.radius = scale * np.array([max(part.radii) for part in BODY])
        self.middles = self.start + 0.5 * self.along * long[:, None]
        stretch = np.where(long, self.length / drawn, scale).clip(min=_SHORTEST * scale)
        angle = np.arctan2(self.along[:, 1], self.along[:, 0])  # some direction also of what has no length
        down = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        across = np.stack([down[:, 1], -down[:, 0]], axis=1)
        self.turns = np.stack([across * scale, down * stretch[:, None]], axis=-1)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The number of the part at each point (N, 2), from 1: the foremost it is inside of, else the nearest one."""
        offset = points[:, None] - self.start
        share = ((offset * self.along).sum(-1) / self.length**2).clip(0, 1)  # (N, 12), of the way along each part
        distance = np.linalg.norm(offset - share[..., None] * self.along, axis=-1) / self.radius
        foremost = np.where(distance < 1, self.depth, np.inf).argmin(1)
        number = np.where((distance < 1).any(1), foremost, distance.argmin(1)) + 1
        return np.where(distance.min(1) < _REACH, number, 0)


def _ends(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The key points of a part's beginning and end."""
    side, _, kind = name.partition(" ")
    if side not in ("far", "near"):
        return _ENDS[name]
    start, end = _ENDS[kind]
    right = int(side == "far")
    return tuple(number + right for number in start), tuple(number + right for number in end)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
