"""Processor time of calls, which other processes hardly affect: for timings on a busy machine."""

import time
from collections.abc import Callable, Mapping

from internet.comparison.timing import Timing

SHORTEST_SAMPLE, FEWEST_ROUNDS = 1e-3, 5


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Processor seconds of all threads of this process; the functions take turns, after one uncounted call of each.

    Every other round runs in reverse order, so that what a call leaves in caches and the allocator affects them all.

    Args:
        functions: by name.
        rounds: calls of each.
    """
    for function in functions.values():
        function()
    samples: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    for _ in range(rounds):
        for name in order:
            start = time.process_time()
            functions[name]()
            samples[name].append(time.process_time() - start)
        order.reverse()
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}


def least(functions: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Of short calls, the least seconds a call in many samples; the functions take turns.

    Args:
        functions: by name.
        seconds: for all of them together.
    """
    repeats = {}
    for name, function in functions.items():
        function()
        repeats[name] = max(1, round(SHORTEST_SAMPLE / max(_seconds(function, 1), 1e-6)))
    found = dict.fromkeys(functions, float("inf"))
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for name, function in functions.items():
            found[name] = min(found[name], _seconds(function, repeats[name]))
    return found


def _seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats
