"""Times that can be compared on a noisy machine: everything that is compared runs interleaved, in one process.

A round calls each function once (A B C, A B C, ...), so that disturbances affect all of them alike. The time of a
call is the median over the rounds; two functions are compared by the median over the rounds of their ratio.
Freeing a result counts as part of the call that returned it.
"""

import functools
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

SHORTEST_SAMPLE = 1e-3
"""Seconds: a shorter call is repeated within a sample, so that the noise of clock and loop is negligible."""

FEWEST_ROUNDS = 5
"""The least number of rounds, however little time there is."""

L2_FLUSH_BYTES = 256 << 20


@dataclass(frozen=True)
class Timing:
    """Seconds per call, one sample per round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        return min(self.samples)

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
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    seconds: float = 2.0,
    rounds: int = 31,
    with_host: bool = False,
    elsewhere: Mapping[str, Callable[[], float]] | None = None,
) -> dict[str, Timing]:
    """Time functions against each other.

    Args:
        functions: by name; each is called at least twice before timing starts.
        device: on CUDA a sample is the time on the device, from a cold L2 cache, with all launches queued before it
            begins: the time the host takes to issue them is not included, unless the call waits for the device.
        seconds: in total; after that, no round starts beyond the fifth.
        rounds: the largest number of rounds.
        with_host: a sample is instead the time of a call in a sequence of calls, limited by host or device.
        elsewhere: by name, functions that return a sample which they take themselves, in another process.
    """
    clocks = {name: _clock(function, device, with_host) for name, function in functions.items()} | dict(elsewhere or {})
    samples: dict[str, list[float]] = {name: [] for name in clocks}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        for done in range(rounds):
            if done >= FEWEST_ROUNDS and time.perf_counter() > end:
                break
            for name, clock in clocks.items():
                samples[name].append(clock())
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _clock(function: Callable[[], object], device: torch.device, with_host: bool) -> Callable[[], float]:
    """Call a function until caches and compilers are warm; returns a function that takes a sample."""
    function()
    once = _seconds(function, 1, device)
    if device.type == "cuda" and not with_host:
        return _DeviceClock(function, once)
    return functools.partial(_seconds, function, max(1, round(SHORTEST_SAMPLE / once)), device)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(function: Callable[[], object], repeats: int, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


class _DeviceClock:
    """Samples of the time that a call takes on the device alone.

    A sleeping kernel keeps the device busy until the host has issued the call. How long it has to sleep is adapted to
    the samples: if the device began too early, a sample is repeated after a longer sleep, at most twice, since a call
    that waits for the device can never be issued ahead of it.
    """

    CYCLES_PER_SECOND = 2e9
    """An upper bound on GPU clock rates; slower GPUs sleep longer."""

    def __init__(self, function: Callable[[], object], once: float) -> None:
        self._function = function
        self._asleep = min(1.5 * once, 5e-3)
        self._may_wait = False

    def __call__(self) -> float:
        measured, ahead = self._sample()
        while not ahead and not self._may_wait:
            self._asleep *= 2
            measured, ahead = self._sample()
            self._may_wait = not ahead and self._asleep > 0.02
        return measured

    def _sample(self) -> tuple[float, bool]:
        """Seconds, and whether the host had finished before the device began."""
        torch.empty(L2_FLUSH_BYTES, dtype=torch.uint8, device="cuda").zero_()
        torch.cuda._sleep(int(self._asleep * self.CYCLES_PER_SECOND))
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self._function()
        end.record()
        ahead = not start.query()
        end.synchronize()
        return start.elapsed_time(end) / 1e3, ahead
