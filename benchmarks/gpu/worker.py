"""The measuring process of `python -m benchmarks gpu-report`, which starts and ends it.

Parts run in order of importance. Each begins only if time is left and is cut short at its limit; if one fails, the
error goes into the report and the others run.
"""

import argparse
import datetime
import math
import shlex
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import internet
from benchmarks.gpu import correctness, graphs, limits, page, speed
from benchmarks.gpu.compiling import NOT_ASKED, TO_LOAD, Compilations
from benchmarks.gpu.limits import TO_SUM_UP, Budget, OutOfTime
from benchmarks.gpu.store import Store
from benchmarks.gpu.targets import BATCH
from benchmarks.lib.backends import backends
from benchmarks.lib.bandwidth import peak_copy_bandwidth
from benchmarks.lib.comparison import Row
from benchmarks.models import throughput
from internet.comparison import timing
from internet.utils.machine import processor

LEAST = 2.0
"""No part begins if fewer seconds than this are left."""
FIRST_TESTS = 60.0
"""Seconds."""
SECTIONS = ("tests", "speed", "end to end", "small", "power", "sanitizer")


@dataclass(frozen=True)
class Part:
    """One measurement. It may take a `share` of the time left, at most `most` seconds."""

    section: str
    name: str
    measure: Callable[[float], dict[str, Any]]
    """Called with its time limit in seconds; returns an entry of the section."""
    share: float = 1.0
    most: float = math.inf

    def __str__(self) -> str:
        return f"{self.section} {self.name}".strip()


def first_checks(folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    """Correctness: the checks of the first minute."""
    selection = options.tests or correctness.first_selection()
    yield _tests("the GPU", selection, folder, 0.3, most=FIRST_TESTS)


def more_checks(folder: Path, device: torch.device, options: argparse.Namespace) -> Iterator[Part]:
    """Correctness: as many further checks as time allows."""
    if not options.tests:
        yield _tests("the operators", correctness.rest_selection(), folder, 0.5)
    for tool in correctness.SANITIZER_TOOLS:
        yield Part("sanitizer", tool, partial(_sanitize, tool, device, folder), 0.5)


def _tests(name: str, selection: Sequence[str], folder: Path, share: float, most: float = math.inf) -> Part:
    return Part("tests", name, lambda s: correctness.run_tests(name, selection, folder, s - 1 - TO_SUM_UP), share, most)


def timings(
    device: torch.device, options: argparse.Namespace, compilations: Compilations | None = None
) -> Iterator[Part]:
    """Speed: rows with targets first."""
    rows = selected(options)
    yield from _speed([row for row in rows if _has_targets(row)], device, options, compilations)
    for preset in throughput.PRESETS[: 1 if device.type == "cpu" or options.quick else None]:
        yield Part("end to end", preset, partial(_end_to_end, preset, device, options), 0.25)
    for row in graphs.rows(options.shrink):
        yield Part("small", str(row.workload), partial(_small, row, device, options))
    for row in _worth_energy(rows):
        yield Part("power", str(row.workload), partial(_power, row, device))
    yield from _speed([row for row in rows if not _has_targets(row)], device, options, compilations)


def _has_targets(row: Row) -> bool:
    return speed.describe(row.workload)["batch"] == BATCH


def compiles(options: argparse.Namespace) -> bool:
    """Whether any selected row is measured with torch.compile."""
    return options.only is None or "speed" in options.only


def selected(options: argparse.Namespace) -> list[Row]:
    """The rows of the speed section."""
    rows = speed.rows(options.shrink)
    return [row for row in rows if _has_targets(row)] if options.quick else rows


def _worth_energy(rows: Sequence[Row]) -> Iterator[Row]:
    """One row per operator: the first, which is the largest."""
    first = {row.workload.operator: row for row in reversed(rows)}
    yield from (row for row in rows if first[row.workload.operator] is row)


def _sanitize(tool: str, device: torch.device, folder: Path, seconds: float) -> dict[str, Any]:
    return correctness.sanitize(tool, device, folder, seconds - 1)


def _speed(
    rows: Sequence[Row], device: torch.device, options: argparse.Namespace, compilations: Compilations | None
) -> Iterator[Part]:
    def measure(row: Row, _: float) -> dict[str, Any]:
        state, compiled = compilations.of(row) if compilations else (NOT_ASKED, None)
        return speed.measure(row, device, options.each, compiled) | {"compile": state}

    for row in rows:
        yield Part("speed", str(row.workload), partial(measure, row))


def _small(row: Row, device: torch.device, options: argparse.Namespace, _: float) -> dict[str, Any]:
    return graphs.measure(row, device, options.each)


def _end_to_end(preset: str, device: torch.device, options: argparse.Namespace, _: float) -> dict[str, Any]:
    return throughput.measure(preset, device, 5 * options.each, size=options.size)


def _power(row: Row, device: torch.device, _: float) -> dict[str, Any]:
    return speed.measure_power(row, device)


def work(todo: Sequence[Part], store: Store, budget: Budget) -> None:
    """Run all parts for which there is time."""
    for part in todo:
        seconds = min(part.share * budget.left(), part.most)
        if seconds < LEAST:
            store.leave_out(str(part), "no time was left")
        else:
            _note(store, part, seconds)
        store.done(str(part))
        (store.folder / "report.md").write_text(page.render(store.report), encoding="utf-8")


def _note(store: Store, part: Part, seconds: float) -> None:
    """Record a part's result, or its error."""
    try:
        with limits.alarm(seconds):
            entry = part.measure(seconds)
    except OutOfTime as reason:
        store.leave_out(str(part), f"cut short: {reason}")
    except Exception as error:  # out of memory or a failing kernel: recorded in the report, and the rest goes on
        traceback.print_exc()
        store.add("errors", {"section": part.section, "error": f"{type(error).__name__}: {error}"})
    else:
        store.add(part.section, entry)
    print(f"{store.report['seconds']:6.0f} s  {part}", flush=True)


def wait_for(path: Path, budget: Budget) -> None:
    """Wait until a file exists or the time is over."""
    while not path.exists() and budget.left() > 0:
        time.sleep(0.1)


@limits.leaving_when_asked()
def main(argv: Sequence[str] | None = None) -> None:
    """The report's command line, plus the deadline `--until`, in seconds of `time.time()`."""
    options = parser().parse_args(argv)
    budget = Budget(options.until - time.time())
    device = torch.device(options.device)
    options.shrink, options.each = (1, 0.6) if device.type == "cuda" else (32, 0.0)
    options.cost = 3.0 if device.type == "cuda" else 1.0
    options.size = None if device.type == "cuda" else 64
    if device.type != "cuda":
        timing.FEWEST_ROUNDS = 1  # timings are not used
        options.tests = options.tests or ["tests/support/test_samples.py"]
    options.out.mkdir(parents=True, exist_ok=True)
    compilations = Compilations(selected(options), device, options.shrink, options.out / "compile.log")
    store = Store(
        options.out,
        device=processor(device),
        date=datetime.date.today().isoformat(),
        internet=internet.__version__,
        torch=torch.__version__,
        backends=backends(device),
        quick=options.quick,
        measurement=device.type == "cuda",
        copy_bandwidth=peak_copy_bandwidth(device),
    )
    with nullcontext() if options.no_compile or not compiles(options) else compilations as compiling:
        first, then, rest = (
            [part for part in parts if part.section in (options.only or [part.section])]
            for parts in (
                first_checks(store.folder, options),
                timings(device, options, compiling),
                more_checks(store.folder, device, options),
            )
        )
        store.plan(str(part) for part in (*first, *then, *rest))
        work(first, store, budget)
        if compiling:  # compiling processes must have ended before anything is timed
            loading = TO_LOAD * sum(map(speed.is_compiled, selected(options)))
            store.add("compilations", compiling.wait(budget.left() - options.cost * len(then) - loading))
            compiling.load(device, budget.left() - options.cost * len(then))
        if options.wait_for:
            wait_for(options.wait_for, budget)
        work([*then, *rest], store, budget)
    store.finish()


def parser() -> argparse.ArgumentParser:
    """The options of both commands."""
    found = argparse.ArgumentParser(prog="python -m benchmarks gpu-report", add_help=False)
    found.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    found.add_argument("--quick", action="store_true", help="the rows with targets only, in 150 seconds")
    found.add_argument("--seconds", type=float, help="for all of it, instead of 500, or 150 with --quick")
    found.add_argument("--only", nargs="+", choices=SECTIONS, help="which parts, instead of all of them")
    found.add_argument("--wait-for", type=Path, metavar="FILE", help="time nothing before it exists: of a GPU in use")
    found.add_argument("--no-compile", action="store_true", help="without torch.compile")
    found.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    found.add_argument(
        "--tests", type=shlex.split, metavar="WORDS", help="what pytest is given, instead of all GPU tests"
    )
    found.add_argument("--until", type=float, help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    main()
