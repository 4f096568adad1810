"""A process of `benchmarks.lib.builds`: times the operators of the `internet` in its working directory.

A request is a line of JSON, and so is its answer. It imports nothing else of this checkout: that would use the other's
`internet`, which may be any version.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

import internet
from internet import ops


def answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def loaded(load: str, operator: str, backward: bool, threads: int) -> Callable[[], Any]:
    """The pass that a request describes, called once."""
    torch.set_num_threads(threads)
    inputs, leaves, wanted, grad_outputs = torch.load(load)
    function = getattr(ops, operator)

    def forward() -> Any:
        with torch.no_grad():
            return function(**inputs)

    def forward_backward() -> Any:
        outputs = [leaf for leaf in pytree.tree_leaves(function(**leaves)) if isinstance(leaf, torch.Tensor)]
        return outputs, torch.autograd.grad(outputs, wanted, grad_outputs)

    run = forward_backward if backward else forward
    run()
    return run


def seconds(run: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def handle(clock: Callable[[int], float] | None, request: dict[str, Any]) -> Callable[[int], float] | None:
    """Answer a request; returns the clock for the next one."""
    if clock and "repeats" in request:
        clock(request["repeats"])  # uncounted: this process has slept
        answer(seconds=clock(request["repeats"]))
        return clock
    try:
        clock = functools.partial(seconds, loaded(**request))
        answer(seconds=clock(1))
    except Exception as error:  # whatever another version says to arguments that it does not know
        answer(error=f"{type(error).__name__}: {error}")
    return clock


def main() -> None:
    imported = [internet, sys.modules.get("internet._C", internet)]  # an installed build's library may stand in
    answer(imported=[module.__file__ for module in imported], reason=ops.backends()["cpu"].reason)
    clock = None
    for line in sys.stdin:
        clock = handle(clock, json.loads(line))


if __name__ == "__main__":
    main()
