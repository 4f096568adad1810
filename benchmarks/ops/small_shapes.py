"""Small shapes, and rows that do not fill whole vectors: `python -m benchmarks small-shapes`.

The shapes of first-order-motion's training: each operator and its whole dense motion at 64², ten anchors, batch one,
against eager torch; and the time per pixel at 120² over that at 128². Once with the kernels for this machine and once
with those for AVX2, each in its own process. Prints two Markdown tables; `--update` puts them into the docs.

Figures are of one thread's processor time, the least of many samples (benchmarks/lib/processor_time.py).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.lib import machine, markdown
from benchmarks.lib.processor_time import least
from internet import ops
from internet.comparison import eager
from internet.comparison import workloads as work
from internet.comparison.case import Function
from internet.comparison.inputs import Inputs, Maker
from internet.comparison.workloads import Workload
from internet.utils.library import INSTRUCTION_SETS, cpu_isa

CPU = torch.device("cpu")
SIZE, ODD, EVEN = 64, 120, 128
OPERATORS = (
    work.affine_mixture,
    work.upsample_motion,
    work.confidence_warp,
    work.pyramid_warp,
    work.masked_backwarp_loss,
    work.soft_argmax,
    work.anchor_features,
)
CHAIN = "first-order-motion's dense motion"


def chain(operators: ModuleType) -> Function:
    """First-order-motion's arithmetic between its networks, with the operators of a module."""

    def run(
        heat: Tensor,
        jacobian_map: Tensor,
        source: Tensor,
        kp_source: Tensor,
        jac_source: Tensor,
        logits: Tensor,
        features: Tensor,
        confidence: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kp_driving, jac_driving = operators.soft_argmax(heat, jacobian_map)
        anchors = (kp_source, kp_driving, jac_source, jac_driving)
        deformed = operators.anchor_features(source, *anchors)
        field = operators.affine_mixture(logits, *anchors)
        return deformed, operators.confidence_warp(features, field, confidence)

    return run


def dense_motion(batch: int, size: int, **options: Any) -> Workload:
    """Inputs of `chain`: heat maps of the driving frame, the source's anchors, outputs of the networks."""

    def make(maker: Maker) -> Inputs:
        points = work.soft_argmax(batch, size).make(maker)
        still = torch.eye(2).flatten().view(4, 1, 1)
        anchors = maker.anchors(batch)
        warped = work.confidence_warp(batch, size).make(maker)
        return {
            "heat": points["logits"],
            "jacobian_map": (still + 0.1 * points["jacobian_map"]).contiguous(),
            "source": maker.data(batch, 3, size, size),
            "kp_source": anchors["kp_source"],
            "jac_source": anchors["jac_source"],
            "logits": maker.data(batch, points["logits"].shape[1] + 1, size, size),
            "features": warped["features"],
            "confidence": warped["confidence"],
        }

    trained = ("heat", "jacobian_map", "kp_source", "jac_source", "logits", "features", "confidence")
    return Workload(CHAIN, f"B={batch} {size}²", make, trained, **options)


def _candidates(workload: Workload) -> tuple[Function, Function]:
    """The fused and the eager function."""
    if workload.operator == CHAIN:
        return chain(ops), chain(eager)
    return getattr(ops, workload.operator), getattr(eager, workload.operator)


def small(seconds: float, shrink: int = 1) -> Iterator[dict[str, Any]]:
    """For each workload, the time of a pass, and how many times longer the eager one takes."""
    for make in (*OPERATORS, dense_motion):
        workload = make(1, SIZE // shrink)
        fused, baseline = _candidates(workload)
        case = workload.case(CPU, fused)
        for name in case.passes(fused):
            runs = {key: case.passes(function)[name] for key, function in (("fused", fused), ("eager", baseline))}
            times = least(runs, seconds)
            row = {"operator": workload.operator, "shape": workload.shape, "pass": name}
            yield {**row, "seconds": times["fused"], "over": times["eager"] / times["fused"]}


def odd_rows(seconds: float, shrink: int = 1) -> Iterator[dict[str, Any]]:
    """For each operator and layout, the time per pixel with odd rows over that with even rows."""
    for make in (*OPERATORS, work.flow_confidence):
        for layout in ("contiguous", "channels_last"):
            odd, even = (make(1, size // shrink, layout=layout) for size in (ODD, EVEN))
            function = getattr(ops, odd.operator)
            passes = {name: w.case(CPU, function).passes(function) for name, w in (("odd", odd), ("even", even))}
            for name in passes["odd"]:
                times = least({key: runs[name] for key, runs in passes.items()}, seconds)
                over = times["odd"] / times["even"] * (EVEN / ODD) ** 2
                yield {"operator": odd.operator, "layout": layout, "pass": name, "over": over}


def _measure(isa: str, seconds: float, shrink: int) -> dict[str, Any]:
    """The figures of both tables, measured in a process with the kernels of one instruction set."""
    command = [sys.executable, "-m", "benchmarks", "small-shapes", "--measure"]
    command += ["--seconds", str(seconds), "--shrink", str(shrink)]
    done = subprocess.run(
        command, env={**os.environ, "INTERNET_CPU_ISA": isa}, stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _small_table(measured: dict[str, dict[str, Any]]) -> str:
    cells: dict[tuple[str, ...], list[str]] = {}
    for figures in measured.values():
        for row in figures["small"]:
            name = row["operator"] if row["operator"] == CHAIN else f"`{row['operator']}`"
            key = (name, row["shape"], row["pass"])
            cells.setdefault(key, []).append(f"{markdown.seconds(row['seconds'])}, {markdown.times(row['over'])}")
    rows = [[*key, *values] for key, values in cells.items()]
    return markdown.table(["operator", "shape", "pass", *measured], rows, words=3)


def _odd_table(measured: dict[str, dict[str, Any]]) -> str:
    cells: dict[tuple[str, ...], list[str]] = {}
    for figures in measured.values():
        for row in figures["odd"]:
            key = (f"`{row['operator']}`", row["layout"], row["pass"])
            cells.setdefault(key, []).append(f"{row['over']:.2f}")
    return markdown.table(["operator", "layout", "pass", *measured], [[*k, *v] for k, v in cells.items()], words=3)


def render(seconds: float, shrink: int = 1) -> str:
    """Both tables, with a description of the machine."""
    best = cpu_isa()
    if best is None:
        raise SystemExit("the CPU kernels are not built")
    offered = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(best) + 1]
    measured = {isa: _measure(isa, seconds, shrink) for isa in dict.fromkeys((best, "avx2")) if isa in offered}
    described = machine.describe(CPU)
    lines = [
        f"{described['processor']}, {described['cores']} cores; torch {described['torch']}; float32, contiguous; "
        f"{described['load']:.1f} other processes ran on average when it started.",
        "",
        "Least processor time of a call, and how many times longer eager torch takes, one thread:",
        "",
        _small_table(measured),
        "",
        f"How many times longer a pixel of {ODD}² takes than one of {EVEN}²:",
        "",
        _odd_table(measured),
        "",
        "Written by `python -m benchmarks small-shapes --update`.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks small-shapes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for all that is interleaved (1)")
    parser.add_argument("--update", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # used by _measure's processes
    parser.add_argument("--shrink", type=int, default=1, help=argparse.SUPPRESS)  # shapes for tests
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.measure:
        figures = {"small": list(small(args.seconds, args.shrink)), "odd": list(odd_rows(args.seconds, args.shrink))}
        return print(json.dumps(figures))
    print(text := render(args.seconds, args.shrink))
    if args.update:
        markdown.update(Path("docs/benchmarks.md"), markdown.SMALL, text)


if __name__ == "__main__":
    main()
