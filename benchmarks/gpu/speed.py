"""Speed on this device: our backends, eager and torch.compile on the paper's sizes, interleaved."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from benchmarks.gpu.targets import BATCH
from benchmarks.lib import memory, nvidia
from benchmarks.lib.backends import backends, on_backend
from benchmarks.lib.bandwidth import copy_of
from benchmarks.lib.comparison import Row
from internet.comparison import timing
from internet.comparison import workloads as work
from internet.comparison.case import Case, Function
from internet.comparison.inputs import LAYOUTS
from internet.comparison.workloads import Workload


def rows(shrink: int = 1) -> list[Row]:
    """Every operator at the paper's sizes: batch 16 and 1, float32 and bfloat16, both layouts."""
    kinds = itertools.product((16, 1), (torch.float32, torch.bfloat16))
    return [Row.of(workload) for batch, dtype in kinds for workload in _workloads(batch, shrink, dtype=dtype)]


def is_compiled(row: Row) -> bool:
    """Whether torch.compile is measured: for rows with a target, and the same rows in half precision."""
    return describe(row.workload)["batch"] == BATCH


def _workloads(batch: int, shrink: int, **options: Any) -> Iterator[Workload]:
    base, frame = 128 // shrink, 512 // shrink
    for layout in reversed(LAYOUTS):
        both = {"layout": layout, **options}
        yield work.pyramid_warp(batch, base, **both)
        yield work.skip_warp(batch, base // 2, **both)
        yield work.confidence_warp(batch, base // 2, 4, blended=True, **both)
        yield work.volume_warp(batch, base // 2, **both)
        yield work.masked_backwarp_loss(batch, frame, **both)
        yield work.affine_mixture(batch, base, **both)
        yield work.affine_mixture_of_volume(batch, base // 2, **both)
        yield work.anchor_features(batch, base, **both)
        yield work.anchor_features_of_volume(batch, base // 2, **both)
        yield work.soft_argmax(batch, base, **both)
        yield work.soft_argmax_of_volume(batch, base // 2, **both)
    yield work.flow_confidence(batch, frame, **options)
    yield work.upsample_motion(batch, base, **options)


def case_of(row: Row, device: torch.device) -> Case:
    """The row's tensors; gradients have the layout of our outputs."""
    ours = backends(device)
    return row.workload.case(device, on_backend(row.workload.operator, ours[0]) if ours else row.baseline)


def measure(row: Row, device: torch.device, seconds: float, compiled: Function | None = None) -> dict[str, Any]:
    """Every sample of every candidate in each pass of a row: times on the device, and of calls with their host work.

    Args:
        row: of the table.
        device: to measure on.
        seconds: for one pass.
        compiled: the baseline, compiled for this row.
    """
    workload = row.workload
    case = case_of(row, device)
    candidates: dict[str, Function] = {name: on_backend(workload.operator, name) for name in backends(device)}
    candidates["eager"] = row.baseline
    if compiled is not None:
        candidates["compile"] = compiled
    passes = {name: _measure_pass(case, name, candidates, device, seconds) for name in case.passes(row.baseline)}
    return {**describe(workload), "passes": passes}


def describe(workload: Workload) -> dict[str, Any]:
    """A workload as plain JSON types."""
    return {
        "operator": workload.operator,
        "shape": workload.shape,
        "batch": workload.shape.split()[0],
        "layout": workload.layout,
        "dtype": str(workload.dtype).removeprefix("torch."),
    }


def _measure_pass(
    case: Case, name: str, candidates: dict[str, Function], device: torch.device, seconds: float
) -> dict[str, Any]:
    count = case.fewest_bytes(name)
    runs: dict[str, Callable[[], Any]] = {key: case.passes(function)[name] for key, function in candidates.items()}
    timings = timing.interleaved({**runs, "copy": copy_of(count, device)}, device, seconds=seconds)
    calls = timing.interleaved(runs, device, seconds=seconds / 2, rounds=7, with_host=True)
    return {
        "bytes": count,
        "samples": _plain(timings),
        "calls": _plain(calls),
        "extra_memory": {key: memory.extra_peak(run, device) for key, run in runs.items()},
    }


def _plain(timings: Mapping[str, timing.Timing]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.4g}") for value in found.samples] for name, found in timings.items()}


def measure_power(row: Row, device: torch.device) -> dict[str, Any]:
    """Energy, clocks and throttling of the first of our backends, forward and backward; or why there is none."""
    described = {**describe(row.workload), "backend": backends(device)[0]}
    function = on_backend(row.workload.operator, described["backend"])
    passes = row.workload.case(device, function).passes(function)
    try:
        reading = nvidia.measure(passes.get("forward+backward", passes["forward"]), device)
    except nvidia.NotAvailable as reason:
        return {**described, "reason": str(reason)}
    return {**described, **dataclasses.asdict(reading)}
