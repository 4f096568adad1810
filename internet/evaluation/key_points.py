"""AKD and missing key points (Siarohin et al., 2019): whether the person has the right pose."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from internet.data.blaze_pose import BlazePose, Pose
from internet.data.image import to_array
from internet.evaluation.measure import Column, Curve, Measure

#: A key point counts as found from this certainty on.
FOUND = 0.5

NOTHING = float("nan")


def key_point_errors(generated: Pose | None, reference: Pose | None) -> tuple[float, float]:
    """The mean distance of the key points found in both frames, in pixels, and the share of the real frame's key points
    that are missing in the generated one. NaN if there is nothing to compare.
    """
    if reference is None:
        return NOTHING, NOTHING
    wanted = reference.certainty >= FOUND
    if not wanted.any():
        return NOTHING, NOTHING
    if generated is None:
        return NOTHING, 1.0
    both = wanted & (generated.certainty >= FOUND)
    missing = 1 - both.sum() / wanted.sum()
    apart = np.linalg.norm(generated.points - reference.points, axis=1)[both]
    return (float(apart.mean()) if both.any() else NOTHING), float(missing)


class KeyPointErrors(Measure):
    """:func:`key_point_errors` of each frame.

    Args:
        pose: uint8 (H, W, 3) -> its pose, or None.
        identity: of its weights.
    """

    def __init__(self, pose: Callable[[np.ndarray], Pose | None], identity: str) -> None:
        self._pose = pose
        instead = "the pose network of first-order-motion's own evaluation; its numbers are of other key points"
        self.columns = (
            Column(
                "akd",
                "AKD (BlazePose), pixels",
                "lower",
                "average distance of the key points found in both frames",
                identity,
                f"AKD by {instead}",
            ),
            Column(
                "missing_key_points",
                "missing key points (BlazePose)",
                "lower",
                "share of the real frame's key points that are not found in the generated one",
                identity,
                f"MKR by {instead}",
            ),
        )
        self.reset()

    @classmethod
    def by_blaze_pose(cls, pose: BlazePose) -> "KeyPointErrors":
        """The measure with BlazePose."""
        return cls(pose, pose.identity)

    def reset(self) -> None:
        self._curves: dict[str, Curve] = {column.key: [] for column in self.columns}

    def update(self, generated: Tensor, reference: Tensor) -> None:
        poses = (self._pose(to_array(frame)) for frame in (generated, reference))
        for key, value in zip(self._curves, key_point_errors(*poses), strict=True):
            self._curves[key].append(value)

    def curves(self) -> dict[str, Curve]:
        return self._curves
