"""Fused against eager: the identical work by the compiled operators and by plain torch, timed turn by turn."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from internet import ops


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one step with ``backend`` and with plain torch, over ``rounds`` interleaved steps.

    ``disagreement`` is how far apart the two losses of one state are, relative to the loss.
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

    def describe(self, work: str, loss: str = "loss") -> str:
        """The outcome in two lines; `work` is what a step is of, such as "fit"."""
        return (
            f"one step of the identical {work}: {1000 * self.fused_seconds:.1f} ms fused (backend {self.backend}), "
            f"{1000 * self.eager_seconds:.1f} ms eager (backend reference: plain torch and grid_sample): "
            f"{self.ratio:.1f} times faster\n"
            f"  (medians of {self.rounds} interleaved steps; "
            f"both give one state the same {loss} to {max(self.disagreement, 6e-8):.0e})"
        )


def why_not_fused(backend: str, operators: Sequence[str]) -> str:
    """Why these operators cannot run on this backend; empty if they can."""
    status = ops.backends().get(backend)
    if status is None:
        return f"there is no backend {backend}"
    if not status.ready:
        return status.reason
    absent = [name for name in operators if name in status.fallbacks]
    return f"no {', '.join(absent)} there" if absent else ""


def not_compared(reason: str) -> str:
    """What to tell instead of :meth:`Comparison.describe`."""
    return f"fused against eager: not timed, the fused operators are missing ({reason})"


def compare_steps(backend: str, fused: Callable[[], float], eager: Callable[[], float], rounds: int) -> Comparison:
    """Time two copies of one state, each moved on by its own function.

    "Eager" is the library's ``reference`` backend: the same formulas in plain torch, with grid_sample. The turns
    alternate, so that whatever else the machine does falls on both alike; the first is not counted.

    Args:
        backend: that of the fused operators; see :func:`why_not_fused`.
        fused, eager: take a step and return the loss before it, a number, for which a GPU has to be waited for.
        rounds: how many turns are counted.
    """
    fused_seconds, eager_seconds, losses = [], [], []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        with ops.backend(backend):
            ours = fused()
        middle = time.perf_counter()
        with ops.backend("reference"):
            theirs = eager()
        end = time.perf_counter()
        fused_seconds.append(middle - begin)
        eager_seconds.append(end - middle)
        losses.append((ours, theirs))
    ours, theirs = losses[0]  # before any step; later rounding grows with every step
    disagreement = abs(ours - theirs) / abs(theirs)
    fused_median, eager_median = statistics.median(fused_seconds[1:]), statistics.median(eager_seconds[1:])
    return Comparison(backend, fused_median, eager_median, disagreement, rounds)
