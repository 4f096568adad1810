"""Run every operator once, forward and backward, on small shapes, for compute-sanitizer.

`python -m benchmarks.gpu.small_shapes [cpu|cuda]`.
"""

import sys
from collections.abc import Sequence

import torch

from internet import ops
from internet.comparison import workloads as work
from internet.comparison.inputs import LAYOUTS

SIZE = 16


def main(argv: Sequence[str]) -> None:
    """The command line."""
    device = torch.device(argv[0] if argv else "cuda")
    for make in work.EVERY:
        for layout in LAYOUTS:
            for dtype in (torch.float32, torch.bfloat16):
                workload = make(2, SIZE, layout=layout, dtype=dtype)
                function = getattr(ops, workload.operator)
                for run in workload.case(device, function).passes(function).values():
                    run()
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
