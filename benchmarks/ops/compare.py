"""Fused, eager and torch.compile side by side: `python -m benchmarks compare`.

Prints a Markdown table. That of docs/benchmarks.md, and the README's excerpt of it, are written by
`python -m benchmarks compare --update`. With `INTERNET_CPU_ISA` set, it writes that page's second table instead, for
machines with a narrower instruction set.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.lib import machine, markdown, memory
from benchmarks.lib.bandwidth import copy_of, peak_copy_bandwidth
from benchmarks.lib.builds import BuildError, Builds, against
from benchmarks.lib.comparison import Row, compiled, is_fused
from benchmarks.ops import comparison_table
from benchmarks.ops.small_shapes import OPERATORS, SIZE
from internet import ops
from internet.comparison import eager, timing
from internet.comparison import workloads as work
from internet.comparison.case import Case, Function
from internet.comparison.dense_motion import dense_motion

QUICK_COMPILES = 45.0
"""Seconds for compiling. torch's cache keeps compiled rows, so that the next run goes on from there."""


def quick_rows(shrink: int = 1) -> list[Row]:
    """The five operators that take most of a training step; those that compile fastest come first."""
    return [
        Row.of(work.upsample_motion(4, 128 // shrink)),
        Row.of(work.affine_mixture(4, 128 // shrink)),
        Row.of(work.confidence_warp(1, 128 // shrink)),
        Row.of(work.masked_backwarp_loss(4, 512 // shrink)),
        Row.of(work.pyramid_warp(1, 128 // shrink)),
    ]


def small_rows(shrink: int = 1) -> list[Row]:
    """The shapes of `benchmarks.ops.small_shapes`."""
    return [Row.of(make(1, SIZE // shrink)) for make in OPERATORS]


def all_rows(shrink: int = 1) -> list[Row]:
    """All nine operators, in both layouts if they have one, and small calls, which are dominated by overhead."""
    mixture = work.affine_mixture(4, 128 // shrink)
    last: dict[str, Any] = {"layout": "channels_last"}
    return [
        Row.of(mixture),
        Row(mixture, eager.affine_mixture_one_matmul, "against one matmul"),
        Row.of(work.affine_mixture(4, 128 // shrink, **last)),
        Row.of(work.affine_mixture_of_volume(1, 64 // shrink)),
        Row.of(work.affine_mixture_of_volume(1, 64 // shrink, **last)),
        Row.of(work.upsample_motion(4, 128 // shrink)),
        Row.of(work.confidence_warp(1, 128 // shrink, 4)),
        Row.of(work.confidence_warp(1, 128 // shrink, 4, **last)),
        Row.of(work.skip_warp(1, 64 // shrink)),
        Row.of(work.skip_warp(1, 64 // shrink, **last)),
        Row.of(work.pyramid_warp(1, 128 // shrink)),
        Row.of(work.pyramid_warp(1, 128 // shrink, **last)),
        Row.of(work.volume_warp(1, 64 // shrink)),
        Row.of(work.volume_warp(1, 64 // shrink, **last)),
        Row.of(work.masked_backwarp_loss(4, 512 // shrink)),
        Row.of(work.masked_backwarp_loss(4, 512 // shrink, **last)),
        Row.of(work.anchor_features(4, 128 // shrink)),
        Row.of(work.anchor_features_of_volume(1, 64 // shrink)),
        Row.of(work.anchor_features_of_volume(1, 64 // shrink, **last)),
        Row(work.dense_motion(1, 64 // shrink), eager.dense_motion, "of LivePortrait", dense_motion),
        Row(work.dense_motion(1, 64 // shrink, noise=True), eager.dense_motion, "of LivePortrait", dense_motion),
        Row.of(work.soft_argmax(4, 128 // shrink)),
        Row.of(work.soft_argmax_of_volume(1, 64 // shrink)),
        Row.of(work.flow_confidence(4, 512 // shrink)),
        Row.of(work.affine_mixture(1, 64 // shrink)),
        Row.of(work.confidence_warp(1, 64 // shrink)),
        Row.of(work.masked_backwarp_loss(1, 64 // shrink)),
    ]


def compare(
    rows: Sequence[Row],
    device: torch.device,
    threads: Sequence[int],
    *,
    compile_within: float,
    seconds: float,
    builds: Builds | None = None,
) -> dict[str, Any]:
    """Measure the rows.

    Args:
        rows: measured in this order.
        device: to measure on.
        threads: numbers of threads, one run for each.
        compile_within: seconds from the start after which no further row is compiled.
        seconds: for the timing of one pass.
        builds: this build and another, to be measured as well.

    Returns:
        Plain JSON types, which `comparison_table.render` takes.
    """
    start = time.perf_counter()
    described = machine.describe(device)
    if described["load"] + max(threads) > described["cores"] + 0.5:
        print("others use this machine: a thread that waits for its core delays the others", file=sys.stderr)
    runs = []
    for count in threads:
        with _threads(count):
            bandwidth = peak_copy_bandwidth(device)
            measured = [_measure(row, device, start + compile_within, seconds, builds) for row in rows]
        runs.append({"threads": count, "copy_bandwidth": bandwidth, "rows": measured})
    return {"machine": described, "runs": runs}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measure(
    row: Row, device: torch.device, compile_until: float, seconds: float, builds: Builds | None
) -> dict[str, Any]:
    workload = row.workload
    fused = row.ours or getattr(ops, workload.operator)
    print(f"{torch.get_num_threads()} threads: {workload} {row.note}", file=sys.stderr)
    case = workload.case(device, fused)
    candidates = {"fused": fused, "eager": row.baseline}
    if time.perf_counter() < compile_until and (function := compiled(row.baseline, case)):
        candidates["compile"] = function
    passes = {}
    for name in case.passes(fused):
        elsewhere = builds.clocks(case, workload.operator, name) if builds and not row.ours else {}
        passes[name] = _measure_pass(name, case, candidates, device, seconds, elsewhere)
    return {
        "operator": workload.operator,
        "note": row.note,
        "shape": workload.shape,
        "layout": workload.layout,
        "dtype": str(workload.dtype).removeprefix("torch."),
        "fused": is_fused(workload.operator, device),
        "passes": passes,
    }


def _measure_pass(
    name: str,
    case: Case,
    candidates: dict[str, Function],
    device: torch.device,
    seconds: float,
    elsewhere: dict[str, Callable[[], float]],
) -> dict[str, Any]:
    count = case.fewest_bytes(name)
    runs: dict[str, Callable[[], Any]] = {key: case.passes(function)[name] for key, function in candidates.items()}
    timings = timing.interleaved({**runs, "copy": copy_of(count, device)}, device, seconds=seconds, elsewhere=elsewhere)
    others = {key: measured for key, measured in timings.items() if key not in ("fused", *elsewhere)}
    return {
        "bytes": count,
        "seconds": {key: measured.median for key, measured in timings.items()},
        "spread": {key: measured.spread for key, measured in timings.items()},
        "over": {key: measured.over(timings["fused"]) for key, measured in others.items()}
        | ({"other": timings["other"].over(timings["this"])} if elsewhere else {}),
        "extra_memory": {key: memory.extra_peak(runs[key], device) for key in ("fused", "eager")},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="five operators, one thread: under 90 s")
    size.add_argument("--small", action="store_true", help="the shapes of `python -m benchmarks small-shapes`")
    parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads; 1 2, with --quick 1")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--only", metavar="TEXT", help="rows whose operator or shape has this in it")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes a while")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of this library, built in place, measured in turn with this one (on the CPU)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there as well")
    parser.add_argument(
        "--update",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FOLDER",
        help="put the table into docs/benchmarks.md of this checkout, and its excerpt into the README (see above)",
    )
    parser.add_argument("--shrink", type=int, default=1, help=argparse.SUPPRESS)  # shapes for tests
    return parser


def _command(args: argparse.Namespace) -> str:
    """The command that repeats the measurement, without the options that only write results."""
    flags = ["--quick"] * args.quick + ["--small"] * args.small + ["--no-compile"] * args.no_compile
    flags += ["--against", str(args.against)] if args.against else []
    only = ["--only", args.only] if args.only else []
    threads = ["--threads", *map(str, args.threads)] if args.threads else []
    narrower = [f"INTERNET_CPU_ISA={isa}"] if (isa := _requested_isa()) else []
    return " ".join([*narrower, "python -m benchmarks compare", *flags, *only, *threads])


def _requested_isa() -> str:
    return os.environ.get("INTERNET_CPU_ISA", "")


def update(folder: Path, report: dict[str, Any]) -> None:
    """Put the table into docs/benchmarks.md and its excerpt into the README, or that of a narrower instruction set.

    Args:
        folder: the checkout.
        report: what `compare` returned, and the "command" that repeats it.
    """
    narrower = bool(_requested_isa())
    place = markdown.CPU_NARROWER if narrower else markdown.CPU
    markdown.update(folder / "docs/benchmarks.md", place, comparison_table.render(report))
    if not narrower:
        markdown.update(folder / "README.md", markdown.CPU_EXCERPT, comparison_table.excerpt(report))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = _parser()
    args = parser.parse_args(argv)
    rows = (quick_rows if args.quick else small_rows if args.small else all_rows)(args.shrink)
    if args.update is not None and (args.against or args.small):
        parser.error("--update writes the table of this build: leave out --against and --small")
    if args.against and args.device != "cpu":
        parser.error(f"--against measures on the CPU: got --device {args.device}")
    if args.only:
        if args.update is not None:
            parser.error("--update writes whole tables: leave out --only")
        names = [f"{row.workload.operator} {row.workload.shape}" for row in rows]
        rows = [row for row, name in zip(rows, names, strict=True) if args.only in name]
        if not rows:
            parser.error(f"--only {args.only}: expected a part of one of {', '.join(dict.fromkeys(names))}")
    threads = args.threads or ([1] if args.quick else [1, 2])
    seconds = 1.0 if args.quick else 2.0
    compile_within = 0.0 if args.no_compile else QUICK_COMPILES if args.quick else math.inf
    try:
        with against(args.against) as builds:
            report = compare(
                rows, torch.device(args.device), threads, compile_within=compile_within, seconds=seconds, builds=builds
            )
    except BuildError as error:
        parser.error(f"--against {error}")
    report["command"] = _command(args)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(comparison_table.render(report))
    if args.update is not None:
        update(args.update, report)


if __name__ == "__main__":
    main()
