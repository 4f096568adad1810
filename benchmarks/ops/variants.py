"""Variants of the operators: half precision, slow motion fields, options: `python -m benchmarks variants`.

Prints three Markdown tables: medians over rounds in which all entries of a row take turns.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.lib import markdown
from internet import ops
from internet.comparison import eager, timing
from internet.comparison import workloads as work
from internet.comparison.inputs import LAYOUTS, MOTIONS
from internet.comparison.workloads import Workload
from internet.utils.machine import processor

HALVES = (torch.bfloat16, torch.float16)


def _workloads(shrink: int) -> Iterator[Workload]:
    for layout in LAYOUTS:
        yield work.confidence_warp(1, 128 // shrink, 4, layout=layout)
        yield work.pyramid_warp(1, 128 // shrink, layout=layout)
        yield work.masked_backwarp_loss(4, 512 // shrink, layout=layout)


def _passes(workload: Workload, function: Callable[..., Any], device: torch.device) -> dict[str, Callable[[], Any]]:
    return workload.case(device, function).passes(function)


def _rows(
    base: Workload, candidates: dict[str, tuple[Workload, Any]], device: torch.device, seconds: float
) -> Iterator[tuple[str, dict[str, timing.Timing]]]:
    """For each pass, the timings of `base` and of the others, all interleaved."""
    everything = {"base": (base, ops), **candidates}
    runs = {
        name: _passes(workload, getattr(module, base.operator), device)
        for name, (workload, module) in everything.items()
    }
    for passed in runs["base"]:
        print(f"{base} {passed}", file=sys.stderr)
        functions = {name: passes[passed] for name, passes in runs.items()}
        yield passed, timing.interleaved(functions, device, seconds=seconds)


def _cells(workload: Workload, passed: str, ratios: Sequence[float]) -> list[str]:
    return [f"`{workload.operator}`", f"{workload.shape}, {workload.layout}", passed, *(f"{r:.2f}×" for r in ratios)]


def _table(columns: Sequence[str], rows: Iterable[list[str]]) -> str:
    return markdown.table(["operator", "shape, layout", "pass", *columns], rows, words=3)


def half_precision(device: torch.device, seconds: float, shrink: int = 1) -> str:
    """A table of how many times faster our bfloat16 and float16 are than our float32 and than eager torch."""
    names = [str(dtype).removeprefix("torch.") for dtype in HALVES]
    columns = [f"{name} over {other}" for name in names for other in ("our float32", f"eager {name}")]
    return _table(columns, _half_precision(names, device, seconds, shrink))


def _half_precision(names: Sequence[str], device: torch.device, seconds: float, shrink: int) -> Iterator[list[str]]:
    for base in _workloads(shrink):
        others = {}
        for name, dtype in zip(names, HALVES, strict=True):
            others[name] = (replace(base, dtype=dtype), ops)
            others[f"eager {name}"] = (replace(base, dtype=dtype), eager)
        for passed, timings in _rows(base, others, device, seconds):
            ratios = [timings[of].over(timings[name]) for name in names for of in ("base", f"eager {name}")]
            yield _cells(base, passed, ratios)


def motions(device: torch.device, seconds: float, shrink: int = 1) -> str:
    """A table of how many times longer each of the other fields takes than the smooth one."""
    others = [motion for motion in MOTIONS if motion != "smooth"]
    return _table(others, _motions(others, device, seconds, shrink))


def _motions(others: Sequence[str], device: torch.device, seconds: float, shrink: int) -> Iterator[list[str]]:
    for base in _workloads(shrink):
        candidates = {motion: (replace(base, motion=motion), ops) for motion in others}
        for passed, timings in _rows(base, candidates, device, seconds):
            yield _cells(base, passed, [timings[motion].over(timings["base"]) for motion in others])


def warp_options(device: torch.device, seconds: float, shrink: int = 1) -> str:
    """A table of how many times longer `confidence_warp` takes that interpolates, or blends, than the plain one."""
    options = {"interpolated": {"interpolated": True}, "blended": {"blended": True}}
    return _table(list(options), _warp_options(options, device, seconds, shrink))


def _warp_options(
    options: dict[str, dict[str, bool]], device: torch.device, seconds: float, shrink: int
) -> Iterator[list[str]]:
    for layout in LAYOUTS:
        for size, ratio in ((64, 1), (64, 4), (128, 4)):
            base, *others = (
                work.confidence_warp(1, size // shrink, ratio, layout=layout, **chosen)
                for chosen in ({}, *options.values())
            )
            candidates = {name: (workload, ops) for name, workload in zip(options, others, strict=True)}
            for passed, timings in _rows(base, candidates, device, seconds):
                yield _cells(base, passed, [timings[name].over(timings["base"]) for name in options])


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks variants", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="number of threads (1)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, default=4.0, help="for all that is interleaved (4)")
    parser.add_argument("--shrink", type=int, default=1, help=argparse.SUPPRESS)  # shapes for tests
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(f"{processor(device)}, {args.threads} threads\n")
    print("Half precision, times faster:\n")
    print(half_precision(device, args.seconds, args.shrink))
    print("\nMotion fields, times slower than the smooth one:\n")
    print(motions(device, args.seconds, args.shrink))
    print("\nconfidence_warp that interpolates, or blends, times slower than the plain one:\n")
    print(warp_options(device, args.seconds, args.shrink))


if __name__ == "__main__":
    main()
