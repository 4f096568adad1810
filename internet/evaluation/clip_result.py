"""The results for a clip, and their files: numbers as JSON, features as arrays."""

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from internet.evaluation.measure import Curve
from internet.utils.files import atomic_write


@dataclass(frozen=True)
class ClipResult:
    """Values and curves over the frames by the columns' keys, and features for distances over all clips."""

    name: str
    frames: int
    values: dict[str, float]
    curves: dict[str, Curve] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything except the features, as JSON values."""
        numbers = {"values": self.values, "curves": self.curves}
        return {"name": self.name, "frames": self.frames, **to_json(numbers)}

    def save(self, stem: Path) -> None:
        """Write `stem`.npz, then `stem`.json, whose existence shows that both are complete."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.features)  # type: ignore[arg-type]  # numpy's stubs
        atomic_write(stem.with_suffix(".npz"), buffer.getvalue())
        atomic_write(stem.with_suffix(".json"), json.dumps(self.to_dict()).encode())

    @classmethod
    def load(cls, stem: Path) -> "ClipResult | None":
        """What :meth:`save` wrote; None if it did not, or did not finish."""
        try:
            stored = from_json(json.loads(stem.with_suffix(".json").read_bytes()))
            with np.load(stem.with_suffix(".npz"), allow_pickle=False) as arrays:
                return cls(**stored, features=dict(arrays))
        except (OSError, ValueError, TypeError, KeyError):
            return None


def to_json(value: Any) -> Any:
    """A value with replacements for what JSON lacks: NaN as null, infinities as text."""
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def from_json(value: Any) -> Any:
    """The inverse of :func:`to_json`."""
    if isinstance(value, dict):
        return {name: from_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return float("nan") if value is None else float(value) if value in ("inf", "-inf") else value
