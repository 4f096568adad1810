"""Whole models on a page: streaming and training, what is asked of them, and whether it was met."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lib.timing import Timing

OTHERS = ("eager", "reference")
"""What ours is compared with: the field's formulation of the operators, and our own plain torch."""
FRAME, STEP = "frame", "training step"


@dataclass(frozen=True)
class Target:
    """Least frames a second, least speed over eager and largest part of eager's memory, on a kind of device."""

    device: str
    preset: str
    passed: str
    rate: float | None = None
    over_eager: float | None = None
    memory: float | None = None


TARGETS = (
    Target("cuda", "internet-512", FRAME, rate=100),
    Target("cuda", "internet-512", STEP, over_eager=1.5, memory=0.7),
    Target("cpu", "tiny", STEP, over_eager=1.3),
)


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table of all rows, and the verdicts."""
    yield "| preset | pass | backend | frames a second | over eager | over reference | peak memory |"
    yield "|---|---|---|--:|--:|--:|--:|"
    for row in rows:
        for passed, measured in row["passes"].items():
            yield from (_line(row, passed, measured, name) for name in measured["samples"])
    found = [verdict for row in rows for verdict in verdicts(row)]
    if found:
        yield from ["", *found]


def _line(row: Mapping[str, Any], passed: str, measured: Mapping[str, Any], name: str) -> str:
    how = f"{passed}, batch {measured['batch']}, {row['precision']}"
    how += ", CUDA graph" if name in measured["replayed"] else ""
    extra = measured["extra_memory"][name]
    taken = "–" if extra is None else f"{extra / 2**20:.0f} MiB"
    speeds = " | ".join("–" if name == other else f"{_over(measured, other, name):.2f}×" for other in OTHERS)
    return f"| `{row['preset']}` | {how} | {name} | {_rate(measured, name):.3g} | {speeds} | {taken} |"


def verdicts(row: Mapping[str, Any]) -> Iterator[str]:
    """A line for each target that a row is about."""
    for target in TARGETS:
        if (target.device, target.preset) != (row["device"], row["preset"]) or target.passed not in row["passes"]:
            continue
        measured = row["passes"][target.passed]
        ours = min(set(measured["samples"]) - set(OTHERS), key=lambda name: -_rate(measured, name))
        found = list(_compared(target, measured, ours))
        figures = ", ".join(text for text, _ in found)
        met = "met" if all(is_met for _, is_met in found) else "**missed**"
        yield f"`{target.preset}`, {target.passed}, {ours}: {figures}: {met}."


def _compared(target: Target, measured: Mapping[str, Any], ours: str) -> Iterator[tuple[str, bool]]:
    if target.rate is not None:
        rate = _rate(measured, ours)
        yield f"{rate:.0f} frames a second (target {target.rate:g})", rate >= target.rate
    if target.over_eager is not None:
        over = _over(measured, "eager", ours)
        yield f"{over:.2f}× eager (target {target.over_eager:g}×)", over >= target.over_eager
    memory = measured["extra_memory"]
    if target.memory is not None and memory["eager"]:
        part = memory[ours] / memory["eager"]
        yield f"{part:.2f} of its memory (target {target.memory:g})", part <= target.memory


def _rate(measured: Mapping[str, Any], name: str) -> float:
    return float(measured["batch"] / Timing(tuple(measured["samples"][name])).median)


def _over(measured: Mapping[str, Any], other: str, name: str) -> float:
    samples = measured["samples"]
    return Timing(tuple(samples[other])).over(Timing(tuple(samples[name])))
