"""An articulated figure: a tree of rigid parts, and where they are while it walks.

Each part is a tapered capsule. Where part p has the rotation R and the joint j (its origin), the material point m
of the part is seen at z = R m + j. Coordinates are the scene's: the origin in the middle of the frame, x to the
right, y down, and the shorter side of the frame from -1 to 1.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """One rigid limb: a capsule from its joint, ``length`` along its own +y, between two radii (scene units).

    ``joint`` is where it hangs on its parent, in the parent's coordinates. ``swing`` is the amplitude of its
    angle in radians, ``phase`` the part of a stride (0 to 1) by which it lags, ``bend`` its mean angle.
    """

    name: str
    parent: str | None
    joint: tuple[float, float]
    length: float
    radii: tuple[float, float]
    swing: float = 0.0
    phase: float = 0.0
    bend: float = 0.0


#: Back to front, which is the order of drawing. Angles are relative to the parent, positive towards +x's left.
BODY = (
    Part("far upper arm", "torso", (0.0, 0.08), 0.24, (0.055, 0.045), 0.55, 0.0, 0.05),
    Part("far forearm", "far upper arm", (0.0, 0.24), 0.24, (0.043, 0.034), 0.25, 0.1, -0.45),
    Part("far thigh", "torso", (0.0, 0.50), 0.36, (0.095, 0.07), 0.50, 0.5, -0.05),
    Part("far shin", "far thigh", (0.0, 0.36), 0.34, (0.065, 0.045), 0.40, 0.75, 0.42),
    Part("far foot", "far shin", (0.0, 0.34), 0.12, (0.045, 0.035), 0.15, 0.75, -1.35),
    Part("torso", None, (0.0, -0.42), 0.50, (0.13, 0.12), 0.04, 0.25, 0.04),
    Part("head", "torso", (0.0, -0.17), 0.03, (0.115, 0.105), 0.05, 0.1, -0.05),
    Part("near thigh", "torso", (0.0, 0.50), 0.36, (0.10, 0.075), 0.50, 0.0, -0.05),
    Part("near shin", "near thigh", (0.0, 0.36), 0.34, (0.068, 0.048), 0.40, 0.25, 0.42),
    Part("near foot", "near shin", (0.0, 0.34), 0.12, (0.047, 0.036), 0.15, 0.25, -1.35),
    Part("near upper arm", "torso", (0.0, 0.08), 0.24, (0.058, 0.047), 0.55, 0.5, 0.05),
    Part("near forearm", "near upper arm", (0.0, 0.24), 0.24, (0.045, 0.036), 0.25, 0.6, -0.45),
)

#: Parts that wear the same cloth share a texture's colours.
CLOTHES = {
    "head": "skin",
    "torso": "shirt",
    "far upper arm": "shirt",
    "near upper arm": "shirt",
    "far forearm": "skin",
    "near forearm": "skin",
    "far thigh": "trousers",
    "near thigh": "trousers",
    "far shin": "trousers",
    "near shin": "trousers",
    "far foot": "shoes",
    "near foot": "shoes",
}


@dataclass(frozen=True)
class Pose:
    """Where one part is: the rotation R (2, 2) and the joint j (2,) of z = R m + j."""

    rotation: np.ndarray
    joint: np.ndarray

    def to_part(self, points: np.ndarray) -> np.ndarray:
        """Scene points (N, 2) -> the part's own coordinates."""
        return (points - self.joint) @ self.rotation

    def to_scene(self, points: np.ndarray) -> np.ndarray:
        """The part's own coordinates (N, 2) -> scene points."""
        return points @ self.rotation.T + self.joint


class Walk:
    """A walking figure: its pace and proportions, drawn from a random generator.

    One stride takes about 1.1 s, and the figure crosses the middle of the scene at the time 0.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._stride = rng.uniform(1.0, 1.2)  # seconds
        self._speed = rng.uniform(0.5, 0.65)  # scene units per second
        self._start = rng.uniform(0, 1)  # of a stride
        self._facing = rng.choice([-1.0, 1.0])
        self.girth = rng.uniform(0.85, 1.15)

    def poses(self, time: float, middle: float) -> dict[str, Pose]:
        """Every part's pose, by the part's name, at ``time`` seconds; at ``middle`` the figure is in the middle."""
        stride = self._start + time / self._stride
        poses: dict[str, Pose] = {}
        for part in sorted(BODY, key=_depth):
            angle = part.bend + part.swing * np.sin(2 * np.pi * (stride - part.phase))
            rotation = _rotation(self._facing * angle)
            if part.parent is None:
                travelled = self._facing * self._speed * (time - middle)
                sway = 0.02 * np.cos(4 * np.pi * stride)
                joint = np.array([travelled, part.joint[1] + sway])
            else:
                parent = poses[part.parent]
                rotation = parent.rotation @ rotation
                joint = parent.to_scene(np.array(part.joint)[None])[0]
            poses[part.name] = Pose(rotation, joint)
        return poses

    def bounds(self, part: Part, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper corner (2,) of what the part can cover."""
        ends = pose.to_scene(np.array([[0.0, 0.0], [0.0, part.length]]))
        radius = self.girth * max(part.radii)
        return ends.min(0) - radius, ends.max(0) + radius

    def depth_inside(self, part: Part, local: np.ndarray) -> np.ndarray:
        """How far inside the part's outline points (N, 2) of its own coordinates are; negative outside."""
        along = np.clip(local[:, 1] / part.length, 0, 1)
        distance = np.hypot(local[:, 0], local[:, 1] - along * part.length)
        return self.girth * (part.radii[0] + along * (part.radii[1] - part.radii[0])) - distance


def _depth(part: Part) -> int:
    """How many parents a part has: parents are posed before their children."""
    parents = {other.name: other.parent for other in BODY}
    depth, name = 0, part.parent
    while name is not None:
        depth, name = depth + 1, parents[name]
    return depth


def _rotation(angle: float) -> np.ndarray:
    """The 2x2 rotation that turns a hanging limb (+y) by ``angle``, positive towards -x."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
