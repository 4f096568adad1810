"""What a measurement is asked to show, and whether it does."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """What is asked of one pass of the rows that have these fields: bounds, by the name of a figure."""

    row: Mapping[str, str]
    passed: str
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)

    def is_about(self, row: Mapping[str, Any], passed: str) -> bool:
        """Whether it says anything of this pass of this row."""
        return passed == self.passed and all(row[name] == value for name, value in self.row.items())

    def bounds(self, figure: str) -> Iterator[float]:
        """What is asked of a figure: nothing, or one value."""
        yield from (asked[figure] for asked in (self.least, self.most) if figure in asked)

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Whether everything that was measured is as asked; what was not measured is not held against it."""
        enough = (figures[name] >= least for name, least in self.least.items() if name in figures)
        little = (figures[name] <= most for name, most in self.most.items() if name in figures)
        return all(enough) and all(little)


def target_of(targets: Sequence[Target], row: Mapping[str, Any], passed: str) -> Target | None:
    """The first that is about this pass of this row."""
    return next((target for target in targets if target.is_about(row, passed)), None)


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times longer one took than the other, by the median round."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def fastest(samples: Mapping[str, Sequence[float]], names: Sequence[str]) -> str | None:
    """Which of these took the least time."""
    measured = [name for name in names if name in samples]
    return min(measured, key=lambda name: statistics.median(samples[name])) if measured else None
