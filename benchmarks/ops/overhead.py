"""What a call costs before it computes anything: `python -m benchmarks.overhead`.

On 4x4 pixels the arithmetic is nothing, and what remains is Python, the dispatcher, autograd and allocation. The
yardstick is `torch.relu`, one call of one operator. Prints a Markdown table, microseconds a call.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence

import torch

from benchmarks.lib import timing
from benchmarks.lib import workloads as work
from benchmarks.lib.case import Case
from internet import ops

SIZE = 4
CPU = torch.device("cpu")

SMALL = (
    work.affine_mixture,
    work.upsample_motion,
    work.confidence_warp,
    work.masked_backwarp_loss,
    work.soft_argmax,
    work.anchor_features,
)


def _microseconds(functions: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    timings = timing.interleaved(functions, CPU, seconds=seconds, rounds=101)
    return {name: 1e6 * statistics.median(measured.samples) for name, measured in timings.items()}


def _relu() -> Case:
    return Case({"input": torch.randn(1, 3, SIZE, SIZE)}, ("input",), torch.relu)


def lines(seconds: float = 0.5) -> Iterator[str]:
    """The rows of the table."""
    yield "| operator | forward | forward+backward |\n|---|--:|--:|"
    for name, cost in [("torch.relu", _microseconds(_relu().passes(torch.relu), seconds)), *_operators(seconds)]:
        yield f"| `{name}` | {cost['forward']:.1f} µs | {cost['forward+backward']:.1f} µs |"


def _operators(seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    for make in SMALL:
        workload = make(1, SIZE)
        function = getattr(ops, workload.operator)
        yield workload.operator, _microseconds(workload.case(CPU, function).passes(function), seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__).parse_args(argv)
    torch.set_num_threads(1)
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
