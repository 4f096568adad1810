"""Textures given by formulas: they can be evaluated at any point, without resampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: The width of the transition between the colours at a seam, in scene units: two thirds of a pixel at 128.
_SEAM = 0.01


@dataclass(frozen=True)
class Patch:
    """Another colour on one side of a straight seam: where ``direction · point > start``."""

    colour: np.ndarray
    direction: tuple[float, float]
    start: float


@dataclass(frozen=True)
class Stripes:
    """One wave of a texture that is stronger than the others."""

    wavelength: float
    direction: tuple[float, float]
    contrast: float


class Texture:
    """An endless random texture: one colour plus plane waves of many wavelengths and directions.

    It can be evaluated at any point without resampling, so that a moving limb's texture moves
    with it exactly. ``contrast`` is the standard deviation; ``wavelengths`` are the shortest and the longest
    in scene units; the amplitude grows with the square root of the wavelength, roughly as in photographs.
    Later ``patches`` lie over earlier ones.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        colour: np.ndarray,
        *,
        contrast: float = 0.10,
        wavelengths: tuple[float, float] = (0.025, 0.25),
        waves: int = 24,
        stripes: Stripes | None = None,
        patches: Sequence[Patch] = (),
    ) -> None:
        length = np.geomspace(*wavelengths, waves)
        angle = rng.uniform(0, 2 * np.pi, waves)
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        tint = 1 + 0.3 * rng.standard_normal((waves, 3))
        strength = np.sqrt(length / length.sum())  # squares sum to 1; a sine's variance is one half
        frequency = 2 * np.pi / length[:, None] * direction
        amplitude = contrast * np.sqrt(2) * strength[:, None] * tint
        if stripes is not None:
            frequency[-1] = 2 * np.pi / stripes.wavelength * np.array(stripes.direction)
            amplitude[-1] = stripes.contrast * np.sqrt(2)
        self.frequency, self.amplitude = frequency.astype(np.float32), amplitude.astype(np.float32)
        self.phase = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
        self.colour = np.asarray(colour, np.float32)
        self.patches = tuple(patches)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Colours (N, 3), float32 in [0, 1], at ``points`` (N, 2)."""
        points = points.astype(np.float32)
        waves = points @ self.frequency.T
        waves += self.phase
        np.sin(waves, out=waves)
        colours = waves @ self.amplitude
        colours += self._base(points)
        return np.clip(colours, 0, 1, out=colours)

    def _base(self, points: np.ndarray) -> np.ndarray:
        colour = self.colour
        for patch in self.patches:
            beyond = points @ np.array(patch.direction, np.float32) - np.float32(patch.start)
            share = np.clip(beyond / np.float32(_SEAM) + np.float32(0.5), 0, 1)[:, None]
            colour = colour + share * (patch.colour.astype(np.float32) - colour)
        return colour
