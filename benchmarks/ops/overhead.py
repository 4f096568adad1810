"""The overhead of a call: `python -m benchmarks overhead`.

On 4x4 pixels arithmetic takes no time, and what remains is Python, the dispatcher, autograd and allocation. The
yardstick is `torch.relu`, one call of one operator. Prints a Markdown table, microseconds of processor time a call.
"""

import argparse
from collections.abc import Iterator, Sequence

import torch

from benchmarks.lib import markdown
from benchmarks.lib.processor_time import least
from internet import ops
from internet.comparison import workloads as work
from internet.comparison.case import Case

SIZE = 4
CPU = torch.device("cpu")

WITH_GRADIENT = tuple(make for make in work.EVERY if make(1, SIZE).trained)


def _relu() -> Case:
    return Case({"input": torch.randn(1, 3, SIZE, SIZE)}, ("input",), torch.relu)


def table(seconds: float = 0.5) -> str:
    """The overhead of `torch.relu` and of every operator."""
    costs = [("torch.relu", least(_relu().passes(torch.relu), seconds)), *_operators(seconds)]
    passes = ("forward", "forward+backward")
    return markdown.table(
        ["operator", *passes],
        ([f"`{name}`", *(f"{1e6 * cost[passed]:.1f} µs" for passed in passes)] for name, cost in costs),
    )


def _operators(seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    for make in WITH_GRADIENT:
        workload = make(1, SIZE)
        function = getattr(ops, workload.operator)
        yield workload.operator, least(workload.case(CPU, function).passes(function), seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m benchmarks overhead", description=__doc__).parse_args(argv)
    torch.set_num_threads(1)
    print(table())


if __name__ == "__main__":
    main()
