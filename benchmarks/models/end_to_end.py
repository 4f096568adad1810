"""The report's page on whole models: streaming and training, with targets and verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.lib import markdown
from benchmarks.lib.markdown import UNKNOWN, mebibytes
from benchmarks.lib.targets import Target, fastest, ratio, target_of
from internet.comparison.timing import Timing

OTHERS = ("eager", "reference")
"""What ours is compared with: the usual eager formulation of the operators, and our own plain torch."""
FRAME, STEP = "frame", "training step"

RATE, EAGER, MEMORY = "frames a second", "× eager", "of its memory"
"""The figures."""

TARGETS = (
    Target({"device": "cuda", "preset": "internet-512"}, FRAME, least={RATE: 100}),
    Target({"device": "cuda", "preset": "internet-512"}, STEP, least={EAGER: 1.5}, most={MEMORY: 0.7}),
    Target({"device": "cpu", "preset": "tiny"}, STEP, least={EAGER: 1.3}),
)

HEADER = ("preset", "pass", "backend", "frames a second", "over eager", "over reference", "peak memory")


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of all rows, and the verdicts."""
    lines = [
        _cells(row, passed, measured, name)
        for row in rows
        for passed, measured in row["passes"].items()
        for name in measured["samples"]
    ]
    table = markdown.table(HEADER, lines, words=3)
    found = [verdict for row in rows for verdict in verdicts(row)]
    return "\n".join([table, "", *found] if found else [table])


def _cells(row: Mapping[str, Any], passed: str, measured: Mapping[str, Any], name: str) -> list[str]:
    how = f"{passed}, batch {measured['batch']}, {row['precision']}"
    how += ", CUDA graph" if name in measured["replayed"] else ""
    speeds = [UNKNOWN if name == other else f"{_over(measured, other, name):.2f}×" for other in OTHERS]
    rate = f"{_rate(measured, name):.3g}"
    return [f"`{row['preset']}`", how, name, rate, *speeds, mebibytes(measured["extra_memory"][name], 0)]


def verdicts(row: Mapping[str, Any]) -> Iterator[str]:
    """A line for each target that applies to a row."""
    for passed, measured in row["passes"].items():
        target = target_of(TARGETS, row, passed)
        ours = fastest(measured["samples"], [name for name in measured["samples"] if name not in OTHERS])
        if target is None or ours is None:
            continue
        figures = _figures(measured, ours)
        asked = [(name, value) for name, value in figures.items() if list(target.bounds(name))]
        told = ", ".join(f"{value:.3g} {name} (target {next(target.bounds(name)):g})" for name, value in asked)
        met = "met" if target.is_met(figures) else "**missed**"
        yield f"`{row['preset']}`, {passed}, {ours}: {told}: {met}."


def _figures(measured: Mapping[str, Any], ours: str) -> dict[str, float]:
    """The figures; memory is missing where the system does not report it."""
    memory = measured["extra_memory"]
    found = {RATE: _rate(measured, ours), EAGER: _over(measured, "eager", ours)}
    return found | ({MEMORY: memory[ours] / memory["eager"]} if memory["eager"] else {})


def _rate(measured: Mapping[str, Any], name: str) -> float:
    return float(measured["batch"] / Timing(tuple(measured["samples"][name])).median)


def _over(measured: Mapping[str, Any], other: str, name: str) -> float:
    return ratio(measured["samples"][other], measured["samples"][name])
