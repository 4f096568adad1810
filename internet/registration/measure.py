"""Time the identical fit with the fused operators and with plain eager torch."""

import copy
import statistics
import time
from dataclasses import dataclass

from internet import ops
from internet.registration.fitting import Problem, Registration, descend_once, make_optimizer

#: What one step of the fit calls.
OPERATORS = ("affine_mixture", "upsample_motion", "pyramid_warp", "masked_backwarp_loss")


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one step with ``backend`` and with plain torch, over ``rounds`` interleaved steps.

    ``disagreement`` is how far apart the two energies of one state are, relative to the energy.
    """

    backend: str
    fused_seconds: float
    eager_seconds: float
    disagreement: float
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster the fused operators are."""
        return self.eager_seconds / self.fused_seconds


def why_not_fused(backend: str) -> str:
    """Why the operators of the fit cannot run on this backend; empty if they can."""
    status = ops.backends().get(backend)
    if status is None:
        return f"there is no backend {backend}"
    if not status.ready:
        return status.reason
    absent = [name for name in OPERATORS if name in status.fallbacks]
    return f"no {', '.join(absent)} there" if absent else ""


def compare(problem: Problem, found: Registration, rounds: int = 10) -> Comparison:
    """Take the same steps from the fitted state with both implementations, turn by turn, and time each.

    "Fused" is the backend named after the frames' device; see :func:`why_not_fused`. "Eager" is the library's
    ``reference`` backend: the same formulas in plain torch, with grid_sample. The turns alternate, so that
    whatever else the machine does falls on both alike; the first is not counted.
    """
    backend = problem.source.device.type
    fused, eager = copy.deepcopy(found.motion), copy.deepcopy(found.motion)
    fused_optimizer, eager_optimizer = make_optimizer(fused), make_optimizer(eager)
    fused_seconds, eager_seconds, energies = [], [], []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        with ops.backend(backend):
            ours = descend_once(problem.objective, fused, fused_optimizer, found.threshold)
        middle = time.perf_counter()
        with ops.backend("reference"):
            theirs = descend_once(problem.objective, eager, eager_optimizer, found.threshold)
        end = time.perf_counter()
        fused_seconds.append(middle - begin)
        eager_seconds.append(end - middle)
        energies.append((ours, theirs))
    ours, theirs = energies[0]  # before any step; later rounding grows with every step
    disagreement = abs(ours - theirs) / abs(theirs)
    fused_median, eager_median = statistics.median(fused_seconds[1:]), statistics.median(eager_seconds[1:])
    return Comparison(backend, fused_median, eager_median, disagreement, rounds)
