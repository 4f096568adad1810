"""The fused operators and the eager formulations, timed at the sizes of the paper's model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from internet import ops
from internet.comparison import eager
from internet.comparison import workloads as work
from internet.comparison.inputs import tensors
from internet.comparison.timing import interleaved


def paper(size: int = 128) -> tuple[work.Workload, ...]:
    """The operators that INTERnet spends its memory traffic in, at a motion field of `size` and frames four times that.

    At the paper's 128 the warped pyramid of one sample alone takes 134 MB.
    """
    return (
        work.affine_mixture(4, size),
        work.pyramid_warp(1, size),
        work.masked_backwarp_loss(4, 4 * size),
        work.anchor_features(4, size),
        work.soft_argmax(4, size),
    )


@dataclass(frozen=True)
class OperatorSpeed:
    """Median seconds of an operator, fused and eager, for the forward pass alone and with the backward pass.

    ``disagreement`` is the largest difference between both results, relative to the largest value.
    """

    operator: str
    shape: str
    forward: tuple[float, float]
    both: tuple[float, float]
    disagreement: float

    @property
    def forward_ratio(self) -> float:
        """How many times faster the fused operator is, forward."""
        return self.forward[1] / self.forward[0]

    @property
    def both_ratio(self) -> float:
        """How many times faster it is forward and backward together."""
        return self.both[1] / self.both[0]


def measure(workload: work.Workload, device: torch.device, seconds: float) -> OperatorSpeed:
    """Time one operator with a gradient, alternating between fused and eager, for a given time."""
    fused, theirs = getattr(ops, workload.operator), getattr(eager, workload.operator)
    case = workload.case(device, fused)
    passes = {"fused": case.passes(fused), "eager": case.passes(theirs)}
    ours, others = (tensors(found["forward"]()) for found in passes.values())
    medians: dict[str, tuple[float, float]] = {}
    for name in ("forward", "forward+backward"):
        runs = {side: found[name] for side, found in passes.items()}
        timings = interleaved(runs, device, seconds=seconds / 2, with_host=True)
        medians[name] = timings["fused"].median, timings["eager"].median
    return OperatorSpeed(
        workload.operator,
        workload.shape,
        medians["forward"],
        medians["forward+backward"],
        max(_difference(a, b) for a, b in zip(ours, others, strict=True)),
    )


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())
