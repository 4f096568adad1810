"""The skeleton of a filmed person: the twelve parts of a drawn figure, as capsules between key points."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from internet.data.figure import BODY

#: The key points whose mean is the beginning of a part, and those of its end. Of limbs, these are the left ones; the
#: right one of each pair has the next number. The "far" limbs of a drawn figure correspond to the right ones.
_ENDS = {
    "head": ((2, 5, 7, 8), (9, 10, 11, 12)),  # from eyes and ears to mouth and shoulders
    "torso": ((11, 12), (23, 24)),
    "upper arm": ((11,), (13,)),
    "forearm": ((13,), (17, 19)),  # includes the hand
    "thigh": ((23,), (25,)),
    "shin": ((25,), (27,)),
    "foot": ((27, 29), (31,)),
}
#: A limb that points at the camera appears short; its length is at least this fraction of the full one.
_SHORTEST = 0.25

_DRAWN = np.array([part.length for part in BODY])
_RADII = np.array([max(part.radii) for part in BODY])
#: A head is nearly round.
_LONG = np.array([part.name != "head" for part in BODY])


@dataclass(frozen=True)
class Skeleton:
    """Where each part begins and ends, in the order of :data:`internet.data.figure.BODY`.

    start, end: (12, 2), x first, normalised to [-1, 1]. depth: (12,), larger is further away.
    """

    start: np.ndarray
    end: np.ndarray
    depth: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, depth: np.ndarray) -> "Skeleton":
        """From key points (33, 2), normalised to [-1, 1], in BlazePose's order, and their depth (33,)."""
        numbers = [_ends(part.name) for part in BODY]
        ends = np.array([[points[list(end)].mean(0) for end in both] for both in numbers])
        return cls(ends[:, 0], ends[:, 1], np.array([depth[list(sum(both, ()))].mean() for both in numbers]))

    def moved(self, maps: np.ndarray) -> "Skeleton":
        """Each part moved by its own affine map, (12, 2, 3)."""
        start, end = ((maps[..., :2] @ points[..., None])[..., 0] + maps[..., 2] for points in (self.start, self.end))
        return Skeleton(start, end, self.depth)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number (from 1) of the part at each point (N, 2), and the point's distance from the nearest part, in
        radii.

        The part is the foremost of those that contain the point; if none does, the nearest.
        """
        x, y = points.T.astype(np.float32)[:, None] - self.start.T.astype(np.float32)[..., None]  # (12, N) each
        along_x, along_y = self._along.T.astype(np.float32)[..., None]
        length, radius = (side.astype(np.float32)[:, None] for side in (self._length, self._scale * _RADII))
        share = ((x * along_x + y * along_y) / length**2).clip(0, 1)  # how far along each part
        distance = np.hypot(x - share * along_x, y - share * along_y) / radius
        foremost = np.where(distance < 1, self.depth[:, None], np.inf).argmin(0)
        least = distance.min(0)
        return np.where(least < 1, foremost, distance.argmin(0)) + 1, least

    @cached_property
    def middles(self) -> np.ndarray:
        """The middle of each part, (12, 2); that of the head is between eyes and ears."""
        return self.start + 0.5 * self._along * _LONG[:, None]

    @cached_property
    def turns(self) -> np.ndarray:
        """Each part's rotation and size, (12, 2, 2): scaled across by the person's size, along by its own length."""
        stretch = np.where(_LONG, self._length / _DRAWN, self._scale).clip(min=_SHORTEST * self._scale)
        angle = np.arctan2(self._along[:, 1], self._along[:, 0])  # also defined for length 0
        down = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        across = np.stack([down[:, 1], -down[:, 0]], axis=1)
        return np.stack([across * self._scale, down * stretch[:, None]], axis=-1)

    @cached_property
    def _along(self) -> np.ndarray:
        return self.end - self.start

    @cached_property
    def _length(self) -> np.ndarray:
        length: np.ndarray = np.hypot(*self._along.T).clip(min=1e-6)
        return length

    @cached_property
    def _scale(self) -> float:
        """The size of the person; a drawn figure's is 1."""
        return float(self._length[_LONG].sum() / _DRAWN[_LONG].sum())


def _ends(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The key points at a part's beginning and end."""
    side, _, kind = name.partition(" ")
    if side not in ("far", "near"):
        return _ENDS[name]
    start, end = _ENDS[kind]
    right = int(side == "far")
    return tuple(number + right for number in start), tuple(number + right for number in end)
