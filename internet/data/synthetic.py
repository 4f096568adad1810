"""A textured articulated figure walking over a textured still background, drawn with numpy alone.

The clip is a function of a seed and a size: nothing is stored and every pixel's true motion is known.

Scene coordinates put the origin in the middle of the frame, x to the right, y down, and the shorter side
of the frame from -1 to 1; the whole picture scales with the frame. A figure is a tree of *parts*, each a
rigid tapered capsule with a texture fixed to it. Where part p has the rotation R and the joint j (its
origin) at time t, the material point m of the part is seen at z = R m + j. Between two times it therefore
moves by the rigid map z -> R' R^T (z - j) + j', which is what :meth:`WalkingClip.flow` returns per pixel.
"""

from dataclasses import dataclass
from functools import cached_property

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
_BODY = (
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

#: Where the wall meets the floor: y in scene units, a little above the feet.
_HORIZON = 0.62

#: Parts that wear the same cloth share a texture's colours.
_CLOTHES = {
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


class Texture:
    """An endless random texture: plane waves of many wavelengths and directions around one colour.

    Being a formula, it can be read at any point without resampling, so that a moving limb's texture moves
    with it exactly. ``contrast`` is the standard deviation; ``wavelengths`` are the shortest and the longest
    in scene units; the amplitude grows with the square root of the wavelength, roughly as in photographs.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        colour: np.ndarray,
        *,
        contrast: float = 0.10,
        wavelengths: tuple[float, float] = (0.025, 0.25),
        waves: int = 24,
    ) -> None:
        length = np.geomspace(*wavelengths, waves)
        angle = rng.uniform(0, 2 * np.pi, waves)
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        tint = 1 + 0.3 * rng.standard_normal((waves, 3))
        strength = np.sqrt(length / length.sum())  # squares sum to 1; a sine's variance is one half
        self.frequency = (2 * np.pi / length[:, None] * direction).astype(np.float32)
        self.phase = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
        self.amplitude = (contrast * np.sqrt(2) * strength[:, None] * tint).astype(np.float32)
        self.colour = np.asarray(colour, np.float32)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Colours (N, 3), float32 in [0, 1], at ``points`` (N, 2)."""
        waves = np.sin(points.astype(np.float32) @ self.frequency.T + self.phase)
        return np.clip(self.colour + waves @ self.amplitude, 0, 1)


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


class WalkingClip:
    """A clip of one walking figure: ``clip[i]`` is frame i, uint8 (H, W, 3) RGB.

    Args:
        seed: chooses colours, textures, proportions, pace and the point of the stride where the clip begins.
        size: (height, width) in pixels.
        frames: how many frames the clip has.
        fps: frames per second; one stride takes about 1.1 s.
    """

    def __init__(
        self, seed: int = 0, size: tuple[int, int] = (512, 512), *, frames: int = 60, fps: float = 25.0
    ) -> None:
        if min(size) < 1 or frames < 1 or fps <= 0:
            raise ValueError(f"size, frames and fps must be positive, got {size}, {frames} and {fps}")
        self.seed, self.size, self.frames, self.fps = seed, size, frames, fps
        rng = np.random.default_rng(seed)
        self._stride = rng.uniform(1.0, 1.2)  # seconds
        self._speed = rng.uniform(0.5, 0.65)  # scene units per second
        self._start = rng.uniform(0, 1)  # of a stride
        self._facing = rng.choice([-1.0, 1.0])
        self._girth = rng.uniform(0.85, 1.15)
        cloth = {name: rng.uniform(0.1, 0.9, 3) for name in ("shirt", "trousers", "shoes")}
        cloth["skin"] = np.array([0.80, 0.58, 0.46]) * rng.uniform(0.5, 1.1)
        self._textures = {part.name: Texture(rng, cloth[_CLOTHES[part.name]]) for part in _BODY}
        wide = (0.03, 0.8)
        self._wall = Texture(rng, rng.uniform(0.5, 0.8, 3), contrast=0.08, wavelengths=wide)
        self._floor = Texture(rng, rng.uniform(0.25, 0.5, 3), contrast=0.08, wavelengths=wide)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> np.ndarray:
        if not -self.frames <= index < self.frames:
            raise IndexError(f"the clip has {self.frames} frames, {index} was asked for")
        return self.render(self.time(index))

    def time(self, index: int) -> float:
        """The time in seconds of frame ``index``."""
        return (index % self.frames) / self.fps

    def poses(self, time: float) -> dict[str, Pose]:
        """Every part's pose at ``time``, by the part's name."""
        stride = self._start + time / self._stride
        poses: dict[str, Pose] = {}
        for part in sorted(_BODY, key=_depth):
            angle = part.bend + part.swing * np.sin(2 * np.pi * (stride - part.phase))
            rotation = _rotation(self._facing * angle)
            if part.parent is None:
                travelled = self._facing * self._speed * (time - 0.5 * self.frames / self.fps)
                sway = 0.02 * np.cos(4 * np.pi * stride)
                joint = np.array([travelled, part.joint[1] + sway])
            else:
                parent = poses[part.parent]
                rotation = parent.rotation @ rotation
                joint = parent.to_scene(np.array(part.joint)[None])[0]
            poses[part.name] = Pose(rotation, joint)
        return poses

    def render(self, time: float) -> np.ndarray:
        """Draw the scene at ``time``: uint8 (H, W, 3)."""
        image = self._background.copy()
        for part, pose in self._drawn(time):
            window, points = self._window(part, pose)
            if not points.size:
                continue
            local = pose.to_part(points)
            cover = self._coverage(part, local)[:, None]
            here = image[window].reshape(-1, 3)
            blend = here + cover * (self._textures[part.name](local) - here)
            image[window] = blend.reshape(image[window].shape)
        return np.round(image * 255).astype(np.uint8)

    def labels(self, time: float) -> np.ndarray:
        """Which part is seen at each pixel: int64 (H, W), 0 the background, p the p-th part of the body."""
        label = np.zeros(self.size, np.int64)
        for part, pose in self._drawn(time):
            window, points = self._window(part, pose)
            if points.size:
                inside = self._coverage(part, pose.to_part(points)) >= 0.5
                view = label[window]
                view[inside.reshape(view.shape)] = 1 + _BODY.index(part)
        return label

    def flow(self, time: float, other: float) -> np.ndarray:
        """The true optical flow from ``time`` to ``other``: float32 (2, H, W) in pixels, channel 0 is x.

        A pixel's flow is that of the part seen there at ``time``, also where that part is hidden at ``other``.
        """
        label, before, after = self.labels(time), self.poses(time), self.poses(other)
        points = self._points
        moved = points.copy()
        for index, part in enumerate(_BODY, start=1):
            here = label == index
            moved[here] = after[part.name].to_scene(before[part.name].to_part(points[here]))
        return ((moved - points) * (0.5 * min(self.size))).astype(np.float32).transpose(2, 0, 1)

    def _drawn(self, time: float) -> list[tuple[Part, Pose]]:
        poses = self.poses(time)
        return [(part, poses[part.name]) for part in _BODY]

    @cached_property
    def _points(self) -> np.ndarray:
        """The scene coordinates of the pixel centres, (H, W, 2)."""
        height, width = self.size
        x = (np.arange(width) + 0.5 - 0.5 * width) / (0.5 * min(self.size))
        y = (np.arange(height) + 0.5 - 0.5 * height) / (0.5 * min(self.size))
        return np.stack(np.meshgrid(x, y), axis=-1)

    @cached_property
    def _background(self) -> np.ndarray:
        points = self._points.reshape(-1, 2)
        image = np.where(points[:, 1:] < _HORIZON, self._wall(points), self._floor(points))
        return image.reshape(*self.size, 3)

    def _window(self, part: Part, pose: Pose) -> tuple[tuple[slice, slice], np.ndarray]:
        """The rectangle of pixels that can show the part, and their scene coordinates (N, 2)."""
        ends = pose.to_scene(np.array([[0.0, 0.0], [0.0, part.length]]))
        pixel = 2 / min(self.size)
        margin = self._girth * max(part.radii) + pixel
        low = (ends.min(0) - margin) / pixel + 0.5 * np.array(self.size[::-1])
        high = (ends.max(0) + margin) / pixel + 0.5 * np.array(self.size[::-1])
        (left, top), (right, bottom) = np.maximum(np.floor(low), 0), np.maximum(np.ceil(high), 0)
        window = (slice(int(top), int(bottom)), slice(int(left), int(right)))
        return window, self._points[window].reshape(-1, 2)

    def _coverage(self, part: Part, local: np.ndarray) -> np.ndarray:
        """How much of each pixel the part covers, (N,) in [0, 1]: its signed distance, one pixel wide at the edge."""
        along = np.clip(local[:, 1] / part.length, 0, 1)
        distance = np.hypot(local[:, 0], local[:, 1] - along * part.length)
        radius = self._girth * (part.radii[0] + along * (part.radii[1] - part.radii[0]))
        return np.clip(0.5 + (radius - distance) * (0.5 * min(self.size)), 0, 1).astype(np.float32)


def _depth(part: Part) -> int:
    """How many parents a part has: parents are posed before their children."""
    parents = {other.name: other.parent for other in _BODY}
    depth, name = 0, part.parent
    while name is not None:
        depth, name = depth + 1, parents[name]
    return depth


def _rotation(angle: float) -> np.ndarray:
    """The 2x2 rotation that turns a hanging limb (+y) by ``angle``, positive towards -x."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
