"""The measuring process of the GPU report, with the emulated CUDA kernels as its GPU.

`python -m tests.emulated.dry_run` takes what `benchmarks.gpu.worker` takes. Every step of the report then has the
backend "cuda", on tiny shapes, and times each call once: nothing is measured.
"""

import sys
from typing import Any

from benchmarks.lib import backends
from internet.comparison import timing
from tests import emulated


def main() -> None:
    """The command line."""
    emulated.stand_in()
    interleaved = timing.interleaved

    def once(*arguments: Any, **options: Any) -> dict[str, timing.Timing]:
        return interleaved(*arguments, **options | {"rounds": 1})

    timing.interleaved = once
    backends.backends = lambda _: ["cuda"]
    from benchmarks.gpu import worker  # which takes `backends` by its name

    worker.main(sys.argv[1:])


if __name__ == "__main__":
    main()
