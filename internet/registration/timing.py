"""Time the identical fit with the fused operators and in plain torch."""

import copy

from internet import comparison
from internet.comparison import Comparison, compare_steps
from internet.registration.fitting import Problem, descend_once, make_optimizer
from internet.registration.result import Registration

#: What one step of the fit calls.
OPERATORS = ("affine_mixture", "upsample_motion", "pyramid_warp", "masked_backwarp_loss")


def why_not_fused(backend: str) -> str:
    """Why the operators of the fit cannot run on this backend; empty if they can."""
    return comparison.why_not_fused(backend, OPERATORS)


def compare(problem: Problem, found: Registration, rounds: int = 10) -> Comparison:
    """Take the same steps from the fitted state with both implementations, in alternation, and time each.

    "Fused" is the backend named after the frames' device; see :func:`why_not_fused` and
    :func:`internet.comparison.compare_steps`.
    """
    fused, eager = copy.deepcopy(found.motion), copy.deepcopy(found.motion)
    fused_optimizer, eager_optimizer = make_optimizer(fused), make_optimizer(eager)
    return compare_steps(
        problem.source.device.type,
        lambda: descend_once(problem.objective, fused, fused_optimizer, found.threshold),
        lambda: descend_once(problem.objective, eager, eager_optimizer, found.threshold),
        rounds,
    )
