"""The results of the demo's acts, and their summary as text."""

from dataclasses import asdict, dataclass
from typing import Any

from internet.commands._shared.demo.animation import Animation
from internet.commands._shared.metric_labels import METRICS
from internet.comparison.frames import FrameSpeed
from internet.comparison.operators import OperatorSpeed

LABEL = 36


@dataclass
class Results:
    """The content of the report; acts that were left out are None.

    machine: a description of the machine. fused: whether there are fused operators for this device.
    notes: what a reader must know about the numbers.
    """

    machine: dict[str, str]
    fused: bool = True
    notes: tuple[str, ...] = ()
    operators: list[OperatorSpeed] | None = None
    animation: Animation | None = None
    frames: FrameSpeed | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        values: dict[str, Any] = {"machine": self.machine}
        if self.operators is not None:
            values["operators"] = [
                asdict(speed) | {"forward_ratio": speed.forward_ratio, "both_ratio": speed.both_ratio}
                for speed in self.operators
            ]
        if self.animation is not None:
            values["animation"] = self.animation.metrics
        if self.frames is not None:
            values["frames"] = asdict(self.frames) | {"ratio": self.frames.ratio}
        return values

    def screen(self) -> str:
        """As text, 80 columns wide."""
        blocks = ["\n".join(self.notes)] if self.notes else []
        if self.operators is not None:
            blocks.append(_operators(self.operators))
        if self.animation is not None:
            blocks.append(_animation(self.animation))
        if self.frames is not None:
            blocks.append(_frames(self.frames))
        return "\n\n".join(blocks)


def milliseconds(seconds: float) -> str:
    """Three digits, such as "0.28 ms" or "252 ms"."""
    value = 1000 * seconds
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ms"


def times(ratio: float) -> str:
    """Such as "1.36×", "7.2×" or "36×"."""
    digits = 0 if ratio >= 20 else 1 if ratio >= 2 else 2
    return f"{ratio:.{digits}f}×"


def _operators(speeds: list[OperatorSpeed]) -> str:
    lines = [f"{'operators, fused over eager':{LABEL}}{'fused':>10}{'eager':>10}{'forward':>11}{'+ backward':>13}"]
    for speed in speeds:
        fused, eager = map(milliseconds, speed.forward)
        ratios = f"{times(speed.forward_ratio):>11}{times(speed.both_ratio):>13}"
        lines.append(f"  {speed.operator:{LABEL - 2}}{fused:>10}{eager:>10}{ratios}")
    return "\n".join(lines)


def _animation(animation: Animation) -> str:
    lines = [f"{animation.title:{LABEL}}{'animated':>20}{'source, repeated':>24}"]
    for label, name, idle in METRICS:
        lines.append(f"  {label:{LABEL - 2}}{animation.metrics[name]:>20.3f}{animation.metrics[idle]:>24.3f}")
    return "\n".join(lines)


def _frames(speed: FrameSpeed) -> str:
    return "\n".join(
        [
            f"{'the whole model, streaming':{LABEL}}{'fused':>20}{'eager':>24}",
            f"  {'frames per second':{LABEL - 2}}{1 / speed.seconds:>20.1f}{1 / speed.eager_seconds:>24.1f}",
            f"  {'operators, of a frame':{LABEL - 2}}{speed.share:>20.1%}{speed.eager_share:>24.1%}",
        ]
    )
