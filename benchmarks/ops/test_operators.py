"""The suites: operator × implementation × dtype × layout × shape × pass, with pytest-benchmark.

`python -m pytest benchmarks`; `-k "pyramid_warp and cpu"` selects, `--benchmark-autosave` and `--benchmark-compare`
keep and compare. Every entry's `extra_info` has what the time alone does not show: bytes moved, the bandwidth, its
fraction of a copy's bandwidth in the same run, extra memory, and on NVIDIA GPUs energy, power and clocks.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.lib import memory, nvidia
from benchmarks.lib.bandwidth import copy_of
from internet import ops
from internet.comparison import eager, timing
from internet.comparison import workloads as work
from internet.comparison.workloads import Workload

SECONDS = 0.5
"""Seconds for one entry."""


def _workloads() -> Iterator[Workload]:
    """Paper shapes in both layouts, three operators in half precision too, and small shapes."""
    last: dict[str, Any] = {"layout": "channels_last"}
    yield work.upsample_motion(4, 128)
    yield work.flow_confidence(4, 512)
    for layout in ({}, last):
        for batch in (1, 4):
            yield work.affine_mixture(batch, 128, **layout)
            yield work.masked_backwarp_loss(batch, 512, **layout)
        yield work.soft_argmax(4, 128, **layout)
        yield work.soft_argmax_of_volume(1, 64, **layout)
        yield work.anchor_features(4, 128, **layout)
        yield work.anchor_features_of_volume(1, 64, **layout)
        yield work.affine_mixture_of_volume(1, 64, **layout)
        yield work.confidence_warp(1, 128, 4, **layout)
        yield work.pyramid_warp(1, 128, **layout)
        yield work.volume_warp(1, 64, **layout)
        for dtype in (torch.bfloat16, torch.float16):
            yield work.affine_mixture(4, 128, dtype=dtype, **layout)
            yield work.pyramid_warp(1, 128, dtype=dtype, **layout)
            yield work.masked_backwarp_loss(1, 512, dtype=dtype, **layout)
    for small in work.EVERY:
        yield small(1, 64)
        yield small(1, 64, dtype=torch.float64)


def _implementations(workload: Workload) -> Iterator[tuple[str, torch.device]]:
    """A workload's implementations on each device: every available backend, and eager torch."""
    for kind in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        device = torch.device(kind)
        for name, status in ops.backends().items():
            if status.ready and name in (kind, "triton" if kind == "cuda" else kind):
                yield "reference" if workload.operator in status.fallbacks else name, device
        yield "eager", device


def _entries() -> Iterator[Any]:
    for workload in _workloads():
        for name, device in _implementations(workload):
            for passed in ("forward", "forward+backward") if workload.trained else ("forward",):
                label = name if name == device.type else f"{name}-on-{device.type}"
                yield pytest.param(workload, name, device, passed, id=f"{workload}-{label}-{passed}")


@pytest.mark.parametrize(("workload", "implementation", "device", "passed"), list(_entries()))
def test_operator(
    benchmark: BenchmarkFixture, workload: Workload, implementation: str, device: torch.device, passed: str
) -> None:
    benchmark.group = f"{workload} {passed} on {device.type}"
    function = getattr(eager if implementation == "eager" else ops, workload.operator)
    with nullcontext() if implementation == "eager" else ops.backend(implementation):
        case = workload.case(device, function)
        run = case.passes(function)[passed]
        moved = case.fewest_bytes(passed)
        if not benchmark.enabled:  # only check that it runs
            benchmark(run)
            return
        seconds, copy_seconds = _medians(run, moved, device)
        benchmark.extra_info |= {
            "bytes": moved,
            "GB/s": moved / seconds / 1e9,
            "fraction of copy": copy_seconds / seconds,
            "extra memory": memory.extra_peak(run, device),
            "threads": torch.get_num_threads(),
            **(_power(run, device) if device.type == "cuda" else {}),
        }
        iterations = max(1, round(timing.SHORTEST_SAMPLE / seconds))
        rounds = min(max(5, round(SECONDS / (seconds * iterations))), 100)
        benchmark.pedantic(_synchronous(run, device), rounds=rounds, iterations=iterations, warmup_rounds=1)


def _medians(run: Callable[[], object], moved: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a call and of a copy of as many bytes, measured in turn."""
    runs = {"run": run, "copy": copy_of(moved, device)}
    timings = timing.interleaved(runs, device, seconds=SECONDS / 2)
    return timings["run"].median, timings["copy"].median


def _power(run: Callable[[], object], device: torch.device) -> dict[str, Any]:
    try:
        return asdict(nvidia.measure(run, device))
    except nvidia.NotAvailable as reason:
        return {"energy": str(reason)}


def _synchronous(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Add a wait for the GPU, as pytest-benchmark's clock does not wait."""
    if device.type != "cuda":
        return run

    def wait() -> None:
        run()
        torch.cuda.synchronize()

    return wait
