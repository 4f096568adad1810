"""An articulated figure: a tree of rigid parts, and their poses while it walks.

Each part is a tapered capsule. If part p has the rotation R and the joint j (its origin), the material point m
of the part is seen at z = R m + j. Scene coordinates have their origin in the middle of the frame, x to the
right, y down, and the shorter side of the frame from -1 to 1.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np


@dataclass(frozen=True)
class Part:
    """One rigid limb: a capsule from its joint, ``length`` along its own +y, between two radii (scene units).

    ``joint`` is where it is attached to its parent, in the parent's coordinates. ``swing`` is the amplitude of its
    angle in radians, ``pace`` the number of swings in a stride, ``phase`` the fraction of a swing (0 to 1) by which
    it lags, ``bend`` its mean angle.
    """

    name: str
    parent: str | None
    joint: tuple[float, float]
    length: float
    radii: tuple[float, float]
    swing: float = 0.0
    phase: float = 0.0
    bend: float = 0.0
    pace: float = 1.0

    @property
    def middle(self) -> np.ndarray:
        """Half-way along the part, (2,) in its own coordinates."""
        return np.array([0.0, 0.5 * self.length])

    def depth_inside(self, local: np.ndarray) -> np.ndarray:
        """How far points (N, 2), in the part's own coordinates, are inside its outline; negative outside."""
        along = np.clip(local[:, 1] / self.length, 0, 1)
        distance = np.hypot(local[:, 0], local[:, 1] - along * self.length)
        return self.radii[0] + along * (self.radii[1] - self.radii[0]) - distance


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

#: The limb that a part belongs to: the parts of a limb share their proportions.
LIMBS = {
    part.name: {"upper arm": "arm", "forearm": "arm", "thigh": "leg", "shin": "leg"}.get(kind, kind)
    for part in BODY
    for kind in [part.name.removeprefix("far ").removeprefix("near ")]
}

#: The height of the standard figure's hips above the ground, and the y of the ground (scene units).
_LEG, _GROUND = 0.70, 0.78

#: The fraction of arms that are raised.
_GESTURES = 1 / 3


@dataclass(frozen=True)
class Pose:
    """The pose of one part: the rotation R (2, 2) and the joint j (2,) of z = R m + j."""

    rotation: np.ndarray
    joint: np.ndarray

    def to_part(self, points: np.ndarray) -> np.ndarray:
        """Scene points (N, 2) -> the part's own coordinates."""
        return (points - self.joint) @ self.rotation

    def to_scene(self, points: np.ndarray) -> np.ndarray:
        """The part's own coordinates (N, 2) -> scene points."""
        return points @ self.rotation.T + self.joint


class Walk:
    """A walking figure with random build, pace and gestures.

    One stride takes about 1.1 s; half-way through its clip the figure is in the middle of the scene.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._stride = rng.uniform(0.9, 1.4)  # seconds
        self._speed = rng.uniform(0.35, 0.65)  # scene units per second
        self._start = rng.uniform(0, 1)  # fraction of a stride
        self.facing = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0)  # 1 or -1 in profile, less when seen obliquely
        self.body = _with_gestures(_of_some_build(BODY, rng), rng)
        self._parents_first = sorted(self.body, key=generation)

    def poses(self, time: float, middle: float) -> dict[str, Pose]:
        """Every part's pose, by the part's name, at ``time`` seconds; at ``middle`` the figure is in the middle."""
        stride = self._start + time / self._stride
        angles: dict[str | None, float] = {None: 0.0}
        poses: dict[str, Pose] = {}
        for part in self._parents_first:
            angle = part.bend + part.swing * math.sin(2 * math.pi * (part.pace * stride - part.phase))
            angles[part.name] = angle = angles[part.parent] + self.facing * angle
            if part.parent is None:
                travelled = self.facing * self._speed * (time - middle)
                joint = np.array([travelled, part.joint[1] + 0.02 * math.cos(4 * math.pi * stride)])
            else:
                joint = poses[part.parent].to_scene(np.array(part.joint))
            poses[part.name] = Pose(_rotation(angle), joint)
        return poses

    def bounds(self, part: Part, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper corners, (2,) each, of a box around the part."""
        end = pose.joint + part.length * pose.rotation[:, 1]
        radius = max(part.radii)
        return np.minimum(pose.joint, end) - radius, np.maximum(pose.joint, end) + radius


def _of_some_build(body: tuple[Part, ...], rng: np.random.Generator) -> tuple[Part, ...]:
    """The body, scaled to a random height and width; its feet stay on the ground."""
    height, girth = rng.uniform(0.85, 1.0), rng.uniform(0.85, 1.2)
    limbs = ("arm", "leg", "foot", "torso", "head")
    lengths = {limb: height * rng.uniform(0.92, 1.08) for limb in limbs}
    widths = {limb: height * girth * rng.uniform(0.88, 1.15) for limb in limbs}
    widths["head"] = height * rng.uniform(0.9, 1.15)  # the head does not widen with the body
    limb_of = {part.name: LIMBS[part.name] for part in body}
    root = (
        _GROUND - next(part.length for part in body if part.parent is None) * lengths["torso"] - _LEG * lengths["leg"]
    )
    return tuple(
        replace(
            part,
            joint=(0.0, root) if part.parent is None else (0.0, part.joint[1] * lengths[limb_of[part.parent]]),
            length=part.length * lengths[limb_of[part.name]],
            radii=(part.radii[0] * widths[limb_of[part.name]], part.radii[1] * widths[limb_of[part.name]]),
        )
        for part in body
    )


def _with_gestures(body: tuple[Part, ...], rng: np.random.Generator) -> tuple[Part, ...]:
    """The body with a wider or narrower gait; each arm swings as in walking, or is raised and waves."""
    legs, arms = rng.uniform(0.75, 1.15), rng.uniform(0.5, 1.4)
    widths = {"leg": legs, "arm": arms}
    walking = [replace(part, swing=part.swing * widths.get(LIMBS[part.name], 1.0)) for part in body]
    for side in ("far", "near"):
        lifted, pace, phase = rng.random() < _GESTURES, rng.uniform(0.7, 1.6), rng.uniform(0, 1)
        bends = {f"{side} upper arm": rng.uniform(-2.3, -0.4), f"{side} forearm": rng.uniform(-1.4, 0.0)}
        swing = rng.uniform(0.1, 0.5)
        if lifted:
            lift = partial(replace, swing=swing, pace=pace, phase=phase)
            walking = [lift(part, bend=bends[part.name]) if part.name in bends else part for part in walking]
    return tuple(walking)


def generation(part: Part) -> int:
    """The number of a part's ancestors: parents are posed before their children."""
    parents = {other.name: other.parent for other in BODY}
    depth, name = 0, part.parent
    while name is not None:
        depth, name = depth + 1, parents[name]
    return depth


def _rotation(angle: float) -> np.ndarray:
    """The 2x2 rotation that turns a hanging limb (+y) by ``angle``, positive towards -x."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
