"""The parts of a filmed person, from key points of the body: they teach what the parts of drawn figures do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from internet.data.skeleton import Skeleton
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

#: A pixel of the person that is further than so many radii from every part belongs to no part.
_REACH = 3.0
#: The person is visible in a pixel if the mask is at least this.
_SEEN = 0.5


@dataclass(frozen=True)
class BodyParts:
    """Twelve rigid parts, in the order of :data:`internet.data.figure.BODY`, in a square frame of S x S pixels.

    skeleton: where the parts are.
    mask: float32 (S, S) in [0, 1], where the person is seen.
    """

    skeleton: Skeleton
    mask: Tensor

    @classmethod
    def of(cls, pose: BodyPose, size: int) -> "BodyParts":
        """The parts of a pose in a square frame, resized to `size` x `size` pixels."""
        skeleton = Skeleton.of(pose.points * (2 / pose.mask.shape[0]) - 1, pose.depth)
        mask = functional.interpolate(_tensor(pose.mask)[None, None], size=(size, size), mode="area")[0, 0]
        return cls(skeleton, mask)

    @cached_property
    def middles(self) -> Tensor:
        """Float32 (12, 2), x first, normalised to [-1, 1]; that of the head is between eyes and ears."""
        return _tensor(self.skeleton.middles)

    @cached_property
    def turns(self) -> Tensor:
        """Float32 (12, 2, 2), each part's rotation and size: across the part by the size of the whole person, along it
        by its own length, which turning towards the camera shortens; 1 is a drawn figure's."""
        return _tensor(self.skeleton.turns)

    @cached_property
    def labels(self) -> Tensor:
        """Uint8 (S, S), the visible part, 1 to 12; 0 is the background."""
        number, distance = self._nearest
        return (number * (distance < _REACH) * (self.mask >= _SEEN)).to(torch.uint8)

    @property
    def nbytes(self) -> int:
        """The bytes that they take in memory."""
        return self.mask.nbytes + self.labels.nbytes + self._shown.nbytes

    @property
    def inside(self) -> Tensor:
        """Bool (S, S): pixels inside the outline of a part, whether or not the mask shows the person there."""
        return self._nearest[1] < 1

    def motion(self, source: "BodyParts") -> tuple[Tensor, Tensor]:
        """The flow from this frame to another of the same person, float32 (2, S, S) in pixels, and what is visible.

        A pixel moves with its part, by Eq. 5's :math:`z \\mapsto p_S + J_S J_D^{-1} (z - p_D)`; the background is
        still. The second result is float32 (1, S, S). A pixel of the person is visible (1) where the source shows the
        person at the flow's end or next to it; a pixel of the background where it does not. A part that is hidden by
        another part in the source counts as visible: one leg looks more like the other leg than the ground does.
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
        visible = inside & source._shown[(label > 0).long(), y, x]
        return flow.T.reshape(2, size, size).contiguous(), visible.float().view(1, size, size)

    @cached_property
    def _shown(self) -> Tensor:
        """Bool (2, S, S): background away from the person, and the person with a margin of one pixel."""
        grown = functional.max_pool2d((self.labels > 0).float()[None], 3, 1, 1)
        return torch.cat([1 - grown, grown]) > 0

    @cached_property
    def _nearest(self) -> tuple[Tensor, Tensor]:
        """(S, S) each: the number of each pixel's part, and its distance from it in radii."""
        size = len(self.mask)
        number, distance = self.skeleton.nearest(identity_field(size, size).view(-1, 2).numpy())
        return torch.from_numpy(number).view(size, size), torch.from_numpy(distance).view(size, size)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
