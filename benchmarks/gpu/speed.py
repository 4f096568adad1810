"""How fast is it here? Our backends, eager and torch.compile on the paper's sizes, interleaved."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch

from benchmarks.gpu.limits import OutOfTime, alarm
from benchmarks.lib import memory, nvidia, timing
from benchmarks.lib import workloads as work
from benchmarks.lib.case import Case, Function
from benchmarks.lib.comparison import Row, compiled
from benchmarks.lib.inputs import LAYOUTS
from benchmarks.lib.workloads import Workload
from internet import ops

AT_ONCE = 20.0
"""Seconds that torch.compile may take for what it has in its cache. It has the generated code of every graph, but of
one with `torch.inverse` not the graph, which it works through again."""


def rows(shrink: int = 1) -> list[Row]:
    """Every operator at the paper's sizes: batch 16 and 1, float32 and bfloat16, both layouts."""
    kinds = itertools.product((16, 1), (torch.float32, torch.bfloat16))
    return [Row.of(workload) for batch, dtype in kinds for workload in _workloads(batch, shrink, dtype=dtype)]


def is_compiled(row: Row) -> bool:
    """Whether torch.compile takes part: the targets over it are about float32."""
    return row.workload.dtype == torch.float32


def _workloads(batch: int, shrink: int, **options: Any) -> Iterator[Workload]:
    base, frame = 128 // shrink, 512 // shrink
    for layout in reversed(LAYOUTS):
        both = {"layout": layout, **options}
        yield work.pyramid_warp(batch, base, **both)
        yield work.masked_backwarp_loss(batch, frame, **both)
        yield work.affine_mixture(batch, base, **both)
        yield work.anchor_features(batch, base, **both)
        yield work.soft_argmax(batch, base, **both)
    yield work.flow_confidence(batch, frame, **options)
    yield work.upsample_motion(batch, base, **options)


def backends(device: torch.device) -> list[str]:
    """Ours, as far as they are ready for tensors on this device."""
    wanted = ("cuda", "triton") if device.type == "cuda" else ("cpu",)
    return [name for name in wanted if ops.backends()[name].ready]


def on_backend(operator: str, backend: str) -> Function:
    """The operator, served by one backend whatever the library would choose."""
    function = getattr(ops, operator)

    @functools.wraps(function)
    def call(**inputs: Any) -> Any:
        with ops.backend(backend):
            return function(**inputs)

    return call


def case_of(row: Row, device: torch.device) -> Case:
    """The row's tensors; gradients arrive in our outputs' layout."""
    ours = backends(device)
    return row.workload.case(device, on_backend(row.workload.operator, ours[0]) if ours else row.baseline)


def measure(row: Row, device: torch.device, seconds: float, *, compile: bool) -> dict[str, Any]:
    """Every sample of every contestant in each pass of a row, and what the first of them takes beside time.

    With `compile` torch.compile takes part, if with its cache on disk it is ready soon enough.
    """
    workload = row.workload
    case = case_of(row, device)
    contestants: dict[str, Function] = {name: on_backend(workload.operator, name) for name in backends(device)}
    contestants["eager"] = row.baseline
    if compile and (function := _from_cache(row, case)):
        contestants["compile"] = function
    passes = {name: _measure_pass(case, name, contestants, device, seconds) for name in case.passes(row.baseline)}
    return {**describe(workload), "passes": passes}


def _from_cache(row: Row, case: Case) -> Function | None:
    with suppress(OutOfTime), alarm(AT_ONCE):
        return compiled(row.baseline, case)
    return None


def describe(workload: Workload) -> dict[str, Any]:
    """A workload in plain JSON types."""
    return {
        "operator": workload.operator,
        "shape": workload.shape,
        "layout": workload.layout,
        "dtype": str(workload.dtype).removeprefix("torch."),
    }


def _measure_pass(
    case: Case, name: str, contestants: dict[str, Function], device: torch.device, seconds: float
) -> dict[str, Any]:
    count = case.fewest_bytes(name)
    runs: dict[str, Callable[[], Any]] = {key: case.passes(function)[name] for key, function in contestants.items()}
    timings = timing.interleaved({**runs, "copy": timing.copy_of(count, device)}, device, seconds=seconds)
    return {
        "bytes": count,
        "samples": {key: [float(f"{value:.4g}") for value in found.samples] for key, found in timings.items()},
        "extra_memory": {key: memory.extra_peak(run, device) for key, run in runs.items()},
    }


def measure_power(row: Row, device: torch.device) -> dict[str, Any]:
    """Energy, clocks and throttling of the first of our backends, forward and backward; or why there is no reading."""
    described = {**describe(row.workload), "backend": backends(device)[0]}
    function = on_backend(row.workload.operator, described["backend"])
    passes = row.workload.case(device, function).passes(function)
    try:
        reading = nvidia.measure(passes.get("forward+backward", passes["forward"]), device)
    except nvidia.NotAvailable as reason:
        return {**described, "reason": str(reason)}
    return {**described, **dataclasses.asdict(reading)}
