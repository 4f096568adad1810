"""Time the identical fit with the fused operators and with plain eager torch."""

import copy
import statistics
import time
from dataclasses import dataclass

from internet import ops
from internet.registration.fitting import Problem, Registration, descend_once, make_optimizer


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one step with each implementation, over ``rounds`` interleaved steps.

    ``disagreement`` is how far apart the two energies of one state are, relative to the energy.
    """

    fused_seconds: float
    eager_seconds: float
    disagreement: float
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster the fused operators are."""
        return self.eager_seconds / self.fused_seconds


def compare(problem: Problem, found: Registration, rounds: int = 10) -> Comparison:
    """Take the same steps from the fitted state with both implementations, turn by turn, and time each.

    "Eager" is the library's ``reference`` backend: the same formulas in plain torch, with grid_sample.
    The turns alternate, so that whatever else the machine does falls on both alike; the first is not counted.
    """
    fused, eager = copy.deepcopy(found.motion), copy.deepcopy(found.motion)
    fused_optimizer, eager_optimizer = make_optimizer(fused), make_optimizer(eager)
    fused_seconds, eager_seconds, energies = [], [], []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
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
    return Comparison(statistics.median(fused_seconds[1:]), statistics.median(eager_seconds[1:]), disagreement, rounds)
