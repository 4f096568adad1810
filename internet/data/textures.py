"""Textures that are formulas: they can be read at any point, without resampling."""

import numpy as np


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
