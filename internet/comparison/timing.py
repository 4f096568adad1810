"""Time several ways of doing the same work, turn by turn in one process."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

MINIMUM_ROUNDS, MAXIMUM_ROUNDS = 3, 200


def interleaved(runs: Mapping[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """The seconds that each run took, in rounds in which all take a turn.

    Whatever else the machine does falls on all alike. One round before the first is not counted: memory is allocated
    and caches are filled in it.

    Args:
        runs: what is timed, by name.
        device: where they work; a GPU is waited for before and after each turn.
        seconds: how long the rounds may take together. There are at least 3 of them, and at most 200.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for name in runs:
        _timed(runs[name], device)
    begin = time.perf_counter()
    for number in range(MAXIMUM_ROUNDS):
        if number >= MINIMUM_ROUNDS and time.perf_counter() - begin >= seconds:
            break
        for name in runs:
            samples[name].append(_timed(runs[name], device))
    return samples


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timed(run: Callable[[], Any], device: torch.device) -> float:
    synchronize(device)
    begin = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - begin
