"""Fused against eager: identical work with the compiled operators and in plain torch, timed in alternation."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from internet import ops


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one step with ``backend`` and with plain torch, over ``rounds`` interleaved steps.

    ``disagreement`` is the difference between the two losses of the same state, relative to the loss.
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
        """The result in two lines; `work` says what the steps belong to, such as "fit"."""
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
    """The text to show instead of :meth:`Comparison.describe`."""
    return f"fused against eager: not timed, the fused operators are missing ({reason})"


def compare_steps(backend: str, fused: Callable[[], float], eager: Callable[[], float], rounds: int) -> Comparison:
    """Time two copies of one state, each advanced by its own function.

    "Eager" is the library's ``reference`` backend: the same formulas in plain torch, with grid_sample. The steps
    alternate, so that other load on the machine affects both alike; the first is not counted.

    Args:
        backend: that of the fused operators; see :func:`why_not_fused`.
        fused, eager: take a step and return the loss before it, as a number, which waits for a GPU.
        rounds: how many steps of each are counted.
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
    ours, theirs = losses[0]  # before any step: rounding differences grow with every step
    disagreement = abs(ours - theirs) / abs(theirs)
    fused_median, eager_median = statistics.median(fused_seconds[1:]), statistics.median(eager_seconds[1:])
    return Comparison(backend, fused_median, eager_median, disagreement, rounds)
