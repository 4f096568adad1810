"""The measuring process of the GPU report, with the emulated CUDA kernels as its GPU.

`python -m tests.emulated.dry_run` takes the arguments of `benchmarks.gpu.worker`. Every step of the report then has the
backend "cuda", on tiny shapes, and makes each call once: nothing is measured.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.lib import backends
from internet.comparison import timing
from tests import emulated


def once(functions: Mapping[str, Callable[[], object]], *_: Any, **__: Any) -> dict[str, timing.Timing]:
    """In place of `timing.interleaved`."""
    for function in functions.values():
        function()
    return dict.fromkeys(functions, timing.Timing((1.0,)))


def main() -> None:
    """The command line."""
    emulated.stand_in()
    timing.interleaved = once
    backends.backends = lambda _: ["cuda"]
    from benchmarks.gpu import worker  # imported late: it imports `backends` by name

    worker.main(sys.argv[1:])


if __name__ == "__main__":
    main()
