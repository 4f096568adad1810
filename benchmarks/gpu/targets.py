"""What an H100 is asked for, and whether a report shows it."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BATCH = "B=16"
"""The batch that targets are about: data several times the size of the L2 cache."""


@dataclass(frozen=True)
class Target:
    """Least fraction of the copy bandwidth, and least speed over eager and over torch.compile, in float32."""

    operator: str
    layout: str | None
    """None: either."""
    passed: str
    fraction: float
    over_eager: float | None = None
    over_compile: float | None = None


def _pair(
    operator: str, layout: str | None, fractions: tuple[float, float], eager: float, compiled: tuple[float, float]
) -> Iterator[Target]:
    for passed, fraction, compiled_speed in zip(("forward", "forward+backward"), fractions, compiled, strict=True):
        yield Target(operator, layout, passed, fraction, eager, compiled_speed)


TARGETS = (
    *_pair("affine_mixture", None, (0.85, 0.75), 10, (2, 3)),
    *_pair("pyramid_warp", "channels_last", (0.85, 0.6), 3, (1.5, 2.5)),
    *_pair("pyramid_warp", "contiguous", (0.75, 0.5), 2.5, (1.2, 2)),
    *_pair("masked_backwarp_loss", None, (0.8, 0.65), 6, (1.5, 3)),
    *(Target(name, None, "forward", 0.7, 6, 1.3) for name in ("anchor_features", "soft_argmax", "flow_confidence")),
    Target("upsample_motion", None, "forward", 0.7),
)


@dataclass(frozen=True)
class Verdict:
    """One target beside what was measured; None where nothing was."""

    target: Target
    row: Mapping[str, Any]
    ours: str
    fraction: float
    over: Mapping[str, float]

    @property
    def met(self) -> bool:
        """All of it that was measured."""
        speeds = (("eager", self.target.over_eager), ("compile", self.target.over_compile))
        asked = [(self.over[name], least) for name, least in speeds if name in self.over and least is not None]
        speed = self.row["dtype"] != "float32" or all(found >= least for found, least in asked)
        return self.fraction >= self.target.fraction and speed


def ratio(slower: list[float], faster: list[float]) -> float:
    """How many times longer one took than the other, by the median round."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def fastest(samples: Mapping[str, list[float]], backends: list[str]) -> str | None:
    """Which of our backends took the least time."""
    ours = [name for name in backends if name in samples]
    return min(ours, key=lambda name: statistics.median(samples[name])) if ours else None


def verdicts(report: Mapping[str, Any]) -> Iterator[Verdict]:
    """Every row of the report that a target is about, in the targets' order."""
    bandwidth = report["copy_bandwidth"]
    for target in TARGETS:
        for row in report["sections"].get("speed", []):
            if not _is_about(target, row) or target.passed not in row.get("passes", {}):
                continue
            measured = row["passes"][target.passed]
            ours = fastest(measured["samples"], report["backends"])
            if ours is None:
                continue
            mine = measured["samples"][ours]
            fraction = measured["bytes"] / statistics.median(mine) / bandwidth
            others = {name: measured["samples"][name] for name in ("eager", "compile") if name in measured["samples"]}
            yield Verdict(target, row, ours, fraction, {name: ratio(other, mine) for name, other in others.items()})


def _is_about(target: Target, row: Mapping[str, Any]) -> bool:
    return (
        row["operator"] == target.operator
        and target.layout in (None, row["layout"])
        and row["shape"].split()[0] == BATCH
    )
