"""What is compared: an operator's workload, and its eager formulation, with and without torch.compile."""

import sys
from dataclasses import dataclass

import torch

from internet import ops
from internet.comparison import eager
from internet.comparison.case import Case, Function
from internet.comparison.workloads import Workload


@dataclass(frozen=True)
class Row:
    """An operator's workload, and the eager formulation to compare it with."""

    workload: Workload
    baseline: Function
    note: str = ""
    ours: Function | None = None
    """The function to measure, if it is not the operator of that name."""

    @classmethod
    def of(cls, workload: Workload) -> "Row":
        """The row of a workload, with its usual eager formulation."""
        return cls(workload, getattr(eager, workload.operator))


def is_fused(operator: str, device: torch.device) -> bool:
    """Whether kernels serve the operator on this device, not the reference."""
    status = ops.backends()[device.type]
    return status.ready and operator not in status.fallbacks


def compiled(function: Function, case: Case, *, forget: bool = True) -> Function | None:
    """Compile for the case's shapes only, which is the best torch.compile can do; None, with a message, if it fails.

    `forget` drops what was compiled before: torch stops after a few versions of one function.
    """
    if forget:
        torch._dynamo.reset()
    result: Function = torch.compile(function, dynamic=False)
    try:
        for run in case.passes(result).values():
            run()
    except Exception as error:  # whatever the compiler raises, the other columns are still useful
        print(f"  torch.compile: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    return result
