"""Small shapes as CUDA graphs: times without the host's cost of launches."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu import speed
from benchmarks.lib.backends import backends, on_backend
from benchmarks.lib.comparison import Row
from benchmarks.lib.cuda_graph import replayed
from internet.comparison import timing
from internet.comparison import workloads as work

SIZE = 64


def rows(shrink: int = 1) -> Iterator[Row]:
    """Every operator with batch 1 and half the base size."""
    for make in work.EVERY:
        yield Row.of(make(1, max(4, SIZE // shrink)))


def measure(row: Row, device: torch.device, seconds: float) -> dict[str, Any]:
    """Replays of the forward pass as a graph, ours and the eager one; without CUDA, plain calls.

    First-order-motion's `torch.inverse` waits for the device, which reports singular matrices: calls of it cannot be
    captured and are not among the samples.
    """
    workload = row.workload
    candidates = {name: on_backend(workload.operator, name) for name in backends(device)}
    candidates["eager"] = row.baseline
    case = workload.case(device, row.baseline)
    runs = {name: case.passes(function)["forward"] for name, function in candidates.items()}
    if device.type == "cuda":
        graphs = {name: replayed(run) for name, run in runs.items()}
        runs = {name: graph for name, graph in graphs.items() if graph}
    timings = timing.interleaved(runs, device, seconds=seconds, with_host=True)
    return {
        **speed.describe(workload),
        "replayed": device.type == "cuda",
        "samples": {name: list(found.samples) for name, found in timings.items()},
    }
