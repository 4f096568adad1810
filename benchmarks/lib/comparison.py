"""What is compared with what: an operator's workload, and its eager formulation, compiled and not."""

import sys
from dataclasses import dataclass

import torch

from internet import ops
from internet.comparison import eager
from internet.comparison.case import Case, Function
from internet.comparison.workloads import Workload


@dataclass(frozen=True)
class Row:
    """An operator's workload, and the eager formulation it is compared with."""

    workload: Workload
    baseline: Function
    note: str = ""
    ours: Function | None = None
    """What is measured where it is not an operator of that name."""

    @classmethod
    def of(cls, workload: Workload) -> "Row":
        """Beside what the field writes."""
        return cls(workload, getattr(eager, workload.operator))


def is_fused(operator: str, device: torch.device) -> bool:
    """Whether the device's own kernels serve the operator, or the reference in their place."""
    status = ops.backends()[device.type]
    return status.ready and operator not in status.fallbacks


def compiled(function: Function, case: Case, *, forget: bool = True) -> Function | None:
    """For the case's shapes alone, which is the best torch.compile can do; None, with a message, where it cannot.

    What was compiled before is forgotten, if so wished: torch stops after a few versions of one function.
    """
    if forget:
        torch._dynamo.reset()
    result: Function = torch.compile(function, dynamic=False)
    try:
        for run in case.passes(result).values():
            run()
    except Exception as error:  # any of a compiler's: the other columns are still worth having
        print(f"  torch.compile: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    return result
