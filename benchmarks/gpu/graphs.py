"""Small shapes as CUDA graphs: what is left when no launch costs the host anything."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu import speed
from benchmarks.gpu.small_shapes import MAKERS
from benchmarks.lib import timing
from benchmarks.lib.comparison import Row

SIZE = 64


def rows(shrink: int = 1) -> Iterator[Row]:
    """Every operator at batch 1 and half the base size."""
    for make in MAKERS:
        yield Row.of(make(1, max(4, SIZE // shrink)))


def measure(row: Row, device: torch.device, seconds: float) -> dict[str, Any]:
    """Replays of the forward pass as a graph, ours and eager's; without CUDA the calls themselves.

    First-order-motion's `torch.inverse` waits for the device to tell of singular matrices: what has it makes no graph
    and is not among the samples.
    """
    workload = row.workload
    ours = {name: speed.on_backend(workload.operator, name) for name in speed.backends(device)}
    contestants = {**ours, "eager": row.baseline}
    case = workload.case(device, row.baseline)
    runs = {name: case.passes(function)["forward"] for name, function in contestants.items()}
    if device.type == "cuda":
        graphs = {name: replayed(run) for name, run in runs.items()}
        runs = {name: graph for name, graph in graphs.items() if graph}
    timings = timing.interleaved(runs, device, seconds=seconds)
    return {
        **speed.describe(workload),
        "replayed": device.type == "cuda",
        "samples": {name: list(found.samples) for name, found in timings.items()},
    }


def replayed(run: Callable[[], object]) -> Callable[[], object] | None:
    """A call that replays the graph of another, which has no arguments; its result is that call's, overwritten.

    None where the call waits for the device, which a graph cannot. A capture that fails would leave the allocator
    in disorder, so that is found out before.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()  # whatever is made once, outside of the graph
        is_waiting = _waits(run)
    torch.cuda.current_stream().wait_stream(side)
    if is_waiting:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _waits(run: Callable[[], object]) -> bool:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return False
