"""What calls take of the processor, which other processes hardly change: for calls of a second on a busy machine."""

import time
from collections.abc import Callable, Mapping

from internet.comparison.timing import Timing


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Seconds of this process, of all its threads; the functions take turns, after a call of each that is not counted.

    Args:
        functions: by name.
        rounds: calls of each.
    """
    for function in functions.values():
        function()
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            function()
            samples[name].append(time.process_time() - start)
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}
