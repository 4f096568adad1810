"""The base of all measures of a clip: columns of a table, computed from frames one after another."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

Curve = list[float]
"""A value for each frame of a clip, NaN where there is none."""


@dataclass(frozen=True)
class Column:
    """A number that is measured.

    key: its name in files. title: its name in tables. better: whether "lower" or "higher" is better.
    about: what it is, in a sentence. weights: the pretrained weights it uses; empty for a formula.
    instead_of: for a stand-in, what it replaces and how to get that.
    """

    key: str
    title: str
    better: Literal["higher", "lower"]
    about: str
    weights: str = ""
    instead_of: str = ""

    def badness(self, value: float) -> float:
        """A number that is larger for worse values; -inf for a missing one."""
        if not np.isfinite(value):
            return -np.inf if np.isnan(value) or (value > 0) == (self.better == "higher") else np.inf
        return value if self.better == "lower" else -value


class Measure(ABC):
    """Receives a clip's frames in order, then returns its results; call `reset` before each clip.

    Frames are (1, 3, H, W) in [0, 1], the generated one and the real one of the same time.
    """

    columns: Sequence[Column]

    @abstractmethod
    def reset(self) -> None:
        """Begin a clip."""

    @abstractmethod
    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Process the next frame."""

    def curves(self) -> dict[str, Curve]:
        """By the columns' keys, a value for each frame, if the measure is computed per frame."""
        return {}

    def values(self) -> dict[str, float]:
        """The clip's values by the columns' keys: the means of the curves, unless computed for the whole clip."""
        return {key: mean(curve) for key, curve in self.curves().items()}

    def features(self) -> dict[str, np.ndarray]:
        """What :meth:`pooled` needs of the clip: arrays (N, D)."""
        return {}

    def pooled(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
        """Values over all clips together, by keys, for measures of distributions."""
        return {}


def mean(curve: Sequence[float]) -> float:
    """The mean over the frames that have a value; NaN if none has."""
    known = [value for value in curve if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
