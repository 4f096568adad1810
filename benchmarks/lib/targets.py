"""Targets of measurements, and whether they are met."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """The bounds, by names of figures, for one pass of the rows that have these fields."""

    row: Mapping[str, str]
    passed: str
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)

    def is_about(self, row: Mapping[str, Any], passed: str) -> bool:
        """Whether the target applies to this pass of this row."""
        return passed == self.passed and all(row[name] == value for name, value in self.row.items())

    def bounds(self, figure: str) -> Iterator[float]:
        """The bound of a figure: none or one value."""
        yield from (asked[figure] for asked in (self.least, self.most) if figure in asked)

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Whether all measured figures are within their bounds; figures that were not measured are ignored."""
        enough = (figures[name] >= least for name, least in self.least.items() if name in figures)
        little = (figures[name] <= most for name, most in self.most.items() if name in figures)
        return all(enough) and all(little)


def target_of(targets: Sequence[Target], row: Mapping[str, Any], passed: str) -> Target | None:
    """The first target that applies to this pass of this row."""
    return next((target for target in targets if target.is_about(row, passed)), None)


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times longer one took than the other, as the median over rounds."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def fastest(samples: Mapping[str, Sequence[float]], names: Sequence[str]) -> str | None:
    """The one of these that took the least time."""
    measured = [name for name in names if name in samples]
    return min(measured, key=lambda name: statistics.median(samples[name])) if measured else None
