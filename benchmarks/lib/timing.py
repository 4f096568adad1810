"""Times that can be compared on a noisy machine: everything that is compared runs in turn, in one process.

A round calls each function once (A B C, A B C, ...), so that what slows the machine slows all alike. What a
call costs is the median over the rounds; how two compare, the median over the rounds of their ratio.
Freeing a result counts as part of the call that made it.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

SHORTEST_SAMPLE = 1e-3
"""Seconds: a call shorter than this is repeated within a sample, beyond the clock's and the loop's own noise."""

L2_FLUSH_BYTES = 256 << 20


@dataclass(frozen=True)
class Timing:
    """Seconds per call, one sample a round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half of the samples lie within this fraction of the median of each other."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    def over(self, other: "Timing") -> float:
        """How many times longer this takes than `other`, round by round."""
        return statistics.median(a / b for a, b in zip(self.samples, other.samples, strict=True))


def interleaved(
    functions: Mapping[str, Callable[[], object]], device: torch.device, *, seconds: float = 2.0, rounds: int = 31
) -> dict[str, Timing]:
    """Time functions against each other.

    Args:
        functions: by name; each is called at least twice before the clock starts.
        device: CUDA times are taken by events, with a cold L2 cache.
        seconds: for all of them together; past it, no round starts after the fifth.
        rounds: at most.
    """
    clock = _cuda_seconds if device.type == "cuda" else _seconds
    repeats = {name: _warm_up(function, device) for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        for done in range(rounds):
            if done >= 5 and time.perf_counter() > end:
                break
            for name, function in functions.items():
                samples[name].append(clock(function, repeats[name]))
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _warm_up(function: Callable[[], object], device: torch.device) -> int:
    """Call it until caches and compilers are warm; how often to repeat it in a sample."""
    function()
    if device.type == "cuda":
        function()
        return 1
    return max(1, round(SHORTEST_SAMPLE / _seconds(function, 1)))


def _seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def _cuda_seconds(function: Callable[[], object], repeats: int) -> float:
    torch.empty(L2_FLUSH_BYTES, dtype=torch.uint8, device="cuda").zero_()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def copy_of(count: int, device: torch.device) -> Callable[[], object]:
    """A copy that moves `count` bytes in all: it reads half and writes half, into memory that is in use already.

    An operator's outputs are fresh memory, which the system has to find first; the copy's are not. It is the
    bound that an operator on reused memory could reach.
    """
    source = torch.zeros(max(1, count // 8), device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def peak_copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a large copy."""
    count = (4 << 30) if device.type == "cuda" else (256 << 20)
    return count / interleaved({"copy": copy_of(count, device)}, device, seconds=0.5)["copy"].median
