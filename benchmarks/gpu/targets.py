"""The targets on an H100, and whether a report meets them."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.lib.targets import Target, fastest, ratio, target_of

BATCH = "B=16"
"""The batch of the targets: its data are several times the size of the L2 cache."""

COPY, EAGER, COMPILE = "of a copy", "over eager", "over torch.compile"
"""The figures: the time of a copy that moves the fewest bytes the pass must, over ours; others' times over ours."""

PASSES = ("forward", "forward+backward")


def _targets(
    operator: str,
    layouts: tuple[str, ...],
    fractions: tuple[float, ...],
    eager: float | None = None,
    compiled: tuple[float, ...] = (),
) -> Iterator[Target]:
    """For forward and, if there are two fractions, forward with backward; speed targets are for float32."""
    for layout in layouts:
        row = {"operator": operator, "layout": layout, "batch": BATCH}
        for i, fraction in enumerate(fractions):
            speed = {EAGER: eager, COMPILE: compiled[i]} if eager is not None else {}
            yield Target(row | {"dtype": "float32"}, PASSES[i], {COPY: fraction, **speed})
            yield Target(row | {"dtype": "bfloat16"}, PASSES[i], {COPY: fraction})


CONTIGUOUS, CHANNELS_LAST = ("contiguous",), ("channels_last",)
BOTH = CONTIGUOUS + CHANNELS_LAST

TARGETS = (
    *_targets("affine_mixture", BOTH, (0.85, 0.75), 10, (2, 3)),
    *_targets("pyramid_warp", CHANNELS_LAST, (0.85, 0.6), 3, (1.5, 2.5)),
    *_targets("pyramid_warp", CONTIGUOUS, (0.75, 0.5), 2.5, (1.2, 2)),
    *_targets("confidence_warp", CHANNELS_LAST, (0.75, 0.5), 3, (1.5, 2)),
    *_targets("confidence_warp", CONTIGUOUS, (0.65, 0.4), 2.5, (1.2, 1.5)),
    *_targets("volume_warp", CHANNELS_LAST, (0.7, 0.35), 3, (1.5, 2)),
    *_targets("volume_warp", CONTIGUOUS, (0.6, 0.3), 2, (1.2, 2)),
    *_targets("masked_backwarp_loss", BOTH, (0.8, 0.65), 6, (1.5, 3)),
    *_targets("anchor_features", BOTH, (0.7,), 6, (1.3,)),
    *_targets("soft_argmax", BOTH, (0.7,), 6, (1.3,)),
    *_targets("flow_confidence", CONTIGUOUS, (0.7,), 6, (1.3,)),
    *_targets("upsample_motion", CONTIGUOUS, (0.7,)),
)


@dataclass(frozen=True)
class Result:
    """One pass of a row: the fastest of our backends, its figures and its targets."""

    row: Mapping[str, Any]
    passed: str
    backend: str
    figures: Mapping[str, float]
    target: Target | None

    @property
    def is_met(self) -> bool | None:
        """None if there is no target."""
        return None if self.target is None else self.target.is_met(self.figures)

    def seconds(self, name: str, kind: str = "samples") -> float | None:
        """The median of a candidate: on the device ("samples"), or of a call with its host work ("calls")."""
        samples = self.row["passes"][self.passed].get(kind, {}).get(name)
        return statistics.median(samples) if samples else None


def results(report: Mapping[str, Any], batch: str = BATCH) -> Iterator[Result]:
    """Every pass of a batch's rows, in the order of the report."""
    for row in report["sections"].get("speed", []):
        for passed, measured in row["passes"].items():
            samples = measured["samples"]
            ours = fastest(samples, report["backends"])
            if row["batch"] == batch and ours is not None:
                yield Result(row, passed, ours, _figures(samples, ours), target_of(TARGETS, row, passed))


def _figures(samples: Mapping[str, list[float]], ours: str) -> dict[str, float]:
    others = {COPY: "copy", EAGER: "eager", COMPILE: "compile"}
    return {figure: ratio(samples[name], samples[ours]) for figure, name in others.items() if name in samples}
