"""A textured articulated figure walking before a textured background, drawn with numpy alone.

The clip is a function of a seed and a size: nothing is stored and every pixel's true motion is known. The figure's
parts move rigidly: between two times a point of a part moves by z -> R' R^T (z - j) + j', with the rotation R and
the joint j of the part before and R', j' after. The background is still, or moves by whole pixels as under a hand-
held camera that follows the figure. Both make :meth:`WalkingClip.flow` exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from internet.data.dress import dressed
from internet.data.figure import Part, Pose, Walk
from internet.data.textures import Texture

#: Where the wall meets the floor: y in scene units, a little above the feet.
_HORIZON = 0.62

#: The amplitude of a moving background, as a fraction of the frame's shorter side, and its period in seconds.
_SWAY, _SWAY_PERIOD = 0.06, (1.6, 2.6)


@dataclass(frozen=True)
class Layer:
    """The N pixels that one part covers at one time."""

    part: Part
    label: int
    pixels: np.ndarray
    """(N,) indices into the flattened frame."""
    local: np.ndarray
    """(N, 2): the pixels' centres in the part's own coordinates."""
    cover: np.ndarray
    """(N,) in (0, 1]: the covered fraction of each pixel; the edge is one pixel wide."""


class WalkingClip:
    """A clip of one walking figure: ``clip[i]`` is frame i, uint8 (H, W, 3) RGB.

    Args:
        seed: determines build, clothes, textures, pace, gestures and the phase of the stride at the clip's start.
        size: (height, width) in pixels.
        frames: how many frames the clip has.
        fps: frames per second; one stride takes about 1.1 s.
        moving_background: the background sways, by whole pixels.
        plain_background: wall and floor have no texture, so that their motion cannot be seen.
    """

    def __init__(
        self,
        seed: int = 0,
        size: tuple[int, int] = (512, 512),
        *,
        frames: int = 60,
        fps: float = 25.0,
        moving_background: bool = False,
        plain_background: bool = False,
    ) -> None:
        if min(size) < 1 or frames < 1 or fps <= 0:
            raise ValueError(f"size, frames and fps must be positive, got {size}, {frames} and {fps}")
        self.seed, self.size, self.frames, self.fps = seed, size, frames, fps
        rng = np.random.default_rng(seed)
        self._walk = Walk(rng)
        self._textures = dressed(self._walk.body, rng, self._walk.facing)
        wide, contrast = (0.03, 0.8), rng.uniform(0.02, 0.07, 2) * (not plain_background)
        self._wall = Texture(rng, rng.uniform(0.35, 0.9, 3), contrast=contrast[0], wavelengths=wide)
        self._floor = Texture(rng, rng.uniform(0.15, 0.6, 3), contrast=contrast[1], wavelengths=wide)
        self._sway_phase, self._sway_period = rng.uniform(0, 2 * np.pi, 2), rng.uniform(*_SWAY_PERIOD, 2)
        self._sway = round(_SWAY * min(size)) if moving_background else 0  # pixels
        # Picture, labels and flow at one time share these results.
        self._poses, self._layers = lru_cache(maxsize=4)(self._posed), lru_cache(maxsize=4)(self._drawn)
        self._labels = lru_cache(maxsize=4)(self._labelled)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> np.ndarray:
        if not -self.frames <= index < self.frames:
            raise IndexError(f"the clip has {self.frames} frames, {index} was asked for")
        return self.render(self.time(index))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.render(self.time(index)) for index in range(self.frames))

    def time(self, index: int) -> float:
        """The time in seconds of frame ``index``."""
        return (index % self.frames) / self.fps

    def poses(self, time: float) -> dict[str, Pose]:
        """Every part's pose at ``time``, by the part's name."""
        return dict(self._poses(time))

    def middles(self, time: float) -> np.ndarray:
        """The middle of each part, in the order of drawing: float32 (12, 2), x first, normalised to [-1, 1]."""
        poses = self._poses(time)
        to_frame = min(self.size) / np.array(self.size[::-1])
        middles = [poses[part.name].to_scene(part.middle) * to_frame for part in self._walk.body]
        return np.stack(middles).astype(np.float32)

    def rotations(self, time: float) -> np.ndarray:
        """How each part is turned, in the order of drawing: float32 (12, 2, 2) rotations."""
        poses = self._poses(time)
        return np.stack([poses[part.name].rotation for part in self._walk.body]).astype(np.float32)

    def render(self, time: float) -> np.ndarray:
        """Draw the scene at ``time``: uint8 (H, W, 3)."""
        image = self._background(time).reshape(-1, 3).copy()
        for layer in self._layers(time):
            here = image[layer.pixels]
            image[layer.pixels] = here + layer.cover[:, None] * (self._textures[layer.part.name](layer.local) - here)
        return np.round(image * 255).astype(np.uint8).reshape(*self.size, 3)

    def labels(self, time: float) -> np.ndarray:
        """The visible part at each pixel: int64 (H, W), 0 for the background, p for the p-th part of the body."""
        return self._labels(time).copy()

    def flow(self, time: float, other: float) -> np.ndarray:
        """The true optical flow from ``time`` to ``other``: float32 (2, H, W) in pixels, channel 0 is x.

        A pixel's flow is that of the part visible there at ``time``, even if that part is hidden at ``other``.
        """
        label, before, after = self._labels(time).ravel(), self._poses(time), self._poses(other)
        moved = np.empty((label.size, 2), np.float32)
        moved[:] = self.shift(other) - self.shift(time)
        figure = np.flatnonzero(label)
        start, part = self._points.reshape(-1, 2)[figure], label[figure] - 1
        motions = np.stack([_rigid(before[p.name], after[p.name]) for p in self._walk.body])[part]  # (N, 2, 3)
        end = motions[:, :, 0] * start[:, :1] + motions[:, :, 1] * start[:, 1:] + motions[:, :, 2]
        moved[figure] = (end - start) * (0.5 * min(self.size))
        return np.ascontiguousarray(moved.T).reshape(2, *self.size)

    def visible(self, time: float, other: float, flow: np.ndarray | None = None) -> np.ndarray:
        """Where what is visible at ``time`` is visible at ``other`` too: bool (H, W).

        A pixel is hidden if the flow (from :meth:`flow`, unless given) ends outside the frame, or if the nearest pixel
        to its end shows another part.
        """
        flow = self.flow(time, other) if flow is None else flow
        height, width = self.size
        x = np.rint(np.arange(width) + flow[0]).astype(np.int64)
        y = np.rint(np.arange(height)[:, None] + flow[1]).astype(np.int64)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        there = self._labels(other)[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        return inside & (there == self._labels(time))

    def shift(self, time: float) -> np.ndarray:
        """The displacement of the background at ``time``: (2,) whole pixels, x first."""
        return np.rint(self._sway * np.sin(2 * np.pi * time / self._sway_period + self._sway_phase))

    def _posed(self, time: float) -> dict[str, Pose]:
        return self._walk.poses(time, 0.5 * self.frames / self.fps)

    def _labelled(self, time: float) -> np.ndarray:
        label = np.zeros(self.size[0] * self.size[1], np.int64)
        for layer in self._layers(time):
            label[layer.pixels[layer.cover >= 0.5]] = layer.label
        return label.reshape(self.size)

    def _drawn(self, time: float) -> list[Layer]:
        """Every part, back to front."""
        poses = self._poses(time)
        return [self._layer(label, part, poses[part.name]) for label, part in enumerate(self._walk.body, start=1)]

    def _layer(self, label: int, part: Part, pose: Pose) -> Layer:
        window = self._window(*self._walk.bounds(part, pose))
        local = pose.to_part(self._points[window].reshape(-1, 2))
        cover = np.clip(0.5 + part.depth_inside(local) * (0.5 * min(self.size)), 0, 1)
        seen = np.flatnonzero(cover)
        pixels = self._numbers[window].ravel()
        return Layer(part, label, pixels[seen], local[seen], cover[seen].astype(np.float32))

    def _window(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice]:
        """The rectangle of pixels that a box of the scene, enlarged by half a pixel, touches."""
        pixel = 2 / min(self.size)
        middle = 0.5 * np.array(self.size[::-1])
        left, top = np.maximum(np.floor((low - pixel) / pixel + middle), 0)
        right, bottom = np.maximum(np.ceil((high + pixel) / pixel + middle), 0)
        return slice(int(top), int(bottom)), slice(int(left), int(right))

    @cached_property
    def _points(self) -> np.ndarray:
        """The scene coordinates of the pixel centres, (H, W, 2)."""
        return self._centres(0)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """The indices of the pixels in the flattened frame, (H, W)."""
        return np.arange(self.size[0] * self.size[1]).reshape(self.size)

    def _centres(self, margin: int) -> np.ndarray:
        """The pixel centres, with `margin` more pixels on every side."""
        x, y = (
            (np.arange(-margin, side + margin) + 0.5 - 0.5 * side) / (0.5 * min(self.size)) for side in self.size[::-1]
        )
        return np.stack(np.meshgrid(x, y), axis=-1)

    @cached_property
    def _backdrop(self) -> np.ndarray:
        """All of the background that the frame can show, (H + 2 sway, W + 2 sway, 3)."""
        points = self._centres(self._sway)
        flat = points.reshape(-1, 2)
        above = flat[:, 1] < _HORIZON
        image = np.empty((len(flat), 3), np.float32)
        image[above], image[~above] = self._wall(flat[above]), self._floor(flat[~above])
        return image.reshape((*points.shape[:2], 3))

    def _background(self, time: float) -> np.ndarray:
        left, top = (self._sway - self.shift(time)).astype(int)
        return self._backdrop[top : top + self.size[0], left : left + self.size[1]]


def _rigid(before: Pose, after: Pose) -> np.ndarray:
    """The motion z -> R z + t of a part from one pose to another: [R | t], (2, 3)."""
    turn = after.rotation @ before.rotation.T
    return np.column_stack([turn, after.joint - turn @ before.joint])


def numbered_clip(
    seed: int,
    number: int,
    size: int,
    *,
    frames: int = 60,
    fps: float = 25.0,
    moving_background: float = 0.5,
    plain_background: float = 0.0,
) -> WalkingClip:
    """One of an endless series of square clips: a function of `seed` and `number`.

    Args:
        moving_background: the fraction of the series whose background moves.
        plain_background: the fraction whose background has no texture.
    """
    if not 0 <= moving_background <= 1:
        raise ValueError(f"moving_background is {moving_background}, expected a fraction, 0 to 1")
    if not 0 <= plain_background <= 1:
        raise ValueError(f"plain_background is {plain_background}, expected a fraction, 0 to 1")
    rng = np.random.default_rng([seed, 0, number])
    moves = bool(rng.random() < moving_background)
    drawn, plain = int(rng.integers(1 << 31)), bool(rng.random() < plain_background)
    options: dict[str, bool] = {"moving_background": moves, "plain_background": plain}
    return WalkingClip(drawn, (size, size), frames=frames, fps=fps, **options)
