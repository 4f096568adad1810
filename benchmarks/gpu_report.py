"""Everything this library claims of a GPU, proved or refuted: `python -m benchmarks.gpu_report --out DIR`.

First whether it is right (the tests of the GPU backends, compute-sanitizer over small shapes), then how fast
(every operator at the paper's sizes against eager and torch.compile, small shapes as CUDA graphs, whole models,
energy). Made to take nine minutes; what has begun is not cut short, so slow compilations can take it past that.
Writes `report.json` with every sample, `report.md` with the verdicts, `roofline.png`; what was measured is on disk at
once, so a run that is killed keeps it. Without a GPU the same steps run on the CPU on tiny shapes, which proves the
steps and measures nothing.

Needs the installed library, pytest and numpy; nvidia-ml-py for energy, matplotlib for the picture. In a checkout
that is not built in place, run it where only `benchmarks` and `tests` are, so that the installed library is found.
"""

import argparse
import datetime
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import internet
from benchmarks import machine, throughput, timing
from benchmarks.contest import Row
from benchmarks.report import correctness, graphs, page, roofline, speed
from benchmarks.report.store import Budget, Store

SECONDS = 520.0
QUICK_SECONDS = 150.0
"""What the whole may take; each part below gets its share."""
TESTS, SANITIZER, COMPILING = 0.3, 0.15, 0.8


def run(store: Store, device: torch.device, budget: Budget, options: argparse.Namespace) -> None:
    """All parts, the most important first; what fails says so in the report, and the rest goes on."""
    total = budget.left()
    selection = options.tests or correctness.gpu_selection()
    _note(store, "tests", partial(correctness.run_tests, selection, store.folder, TESTS * total))
    for entry in correctness.sanitize(device.type, store.folder, SANITIZER * total):
        store.add("sanitizer", entry)
    compile_until = Budget(COMPILING * budget.left())
    rows = list(speed.rows(options.shrink))
    for row in rows[:5] if options.quick else rows:
        if not budget.left():
            break
        _note(store, "speed", partial(_speed, row, device, compile_until, options))
    for row in graphs.rows(options.shrink):
        _note(store, "small", partial(graphs.measure, row, device, options.seconds))
    for preset in throughput.PRESETS[: 1 if device.type == "cpu" or options.quick else None]:
        if budget.left():
            _note(store, "whole", partial(throughput.measure, preset, device, 5 * options.seconds, options.size))
    for row in _worth_energy(rows):
        if budget.left():
            _note(store, "power", partial(speed.measure_power, row, device))


def _speed(row: Row, device: torch.device, compile_until: Budget, options: argparse.Namespace) -> dict[str, Any]:
    is_compiled = not options.no_compile and row.workload.dtype == torch.float32
    return speed.measure(row, device, compile_until, options.seconds, compile=is_compiled)


def _worth_energy(rows: Sequence[Row]) -> Iterator[Row]:
    """One row an operator: the first, which is the largest."""
    seen = set()
    for row in rows:
        if row.workload.operator not in seen:
            seen.add(row.workload.operator)
            yield row


def _note(store: Store, section: str, part: Callable[[], dict[str, Any]]) -> None:
    """Add what a part returns, or how it failed, and bring the page up to date."""
    try:
        entry = part()
    except Exception as error:  # out of memory, a kernel that fails: the report tells it and goes on
        traceback.print_exc()
        store.add("errors", {"section": section, "error": f"{type(error).__name__}: {error}"})
        return
    store.add(section, entry)
    what = " ".join(entry[key] for key in ("operator", "preset", "shape") if key in entry)
    print(f"{store.report['seconds']:6.0f} s  {section} {what}", flush=True)
    (store.folder / "report.md").write_text(page.render(store.report), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    parser.add_argument("--quick", action="store_true", help="five rows only, in 150 seconds")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    parser.add_argument(
        "--tests", type=shlex.split, metavar="WORDS", help="what pytest is given, instead of all GPU tests"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(argv)
    if (options.out / "report.json").exists():
        sys.exit(f"{options.out} has a report already: choose another folder")
    device = torch.device(options.device)
    options.shrink, options.seconds = (1, 0.6) if device.type == "cuda" else (32, 0.02)
    options.size = None if device.type == "cuda" else 64
    if device.type != "cuda":
        print("no CUDA device: tiny shapes on the CPU, to see that every step runs; nothing here is a measurement")
        options.tests = options.tests or ["tests/test_values.py", "-k", "upsample_motion and cpu"]
    store = Store(
        options.out,
        device=machine.processor(device),
        date=datetime.date.today().isoformat(),
        internet=internet.__version__,
        torch=torch.__version__,
        backends=speed.backends(device),
        quick=options.quick,
        measurement=device.type == "cuda",
        copy_bandwidth=timing.peak_copy_bandwidth(device),
    )
    run(store, device, Budget(QUICK_SECONDS if options.quick else SECONDS), options)
    store.finish()
    text = page.render(store.report)
    (store.folder / "report.md").write_text(text, encoding="utf-8")
    print(text)
    print(roofline.draw(store.report, store.folder / "roofline.png"))


if __name__ == "__main__":
    main()
