"""Registration of two frames: fit a mixture of local affine motions to two images, with `internet.ops`."""

from internet.comparison import Comparison
from internet.registration.fitting import Problem, fit, register
from internet.registration.motion import MixtureMotion
from internet.registration.objective import Objective, Weights
from internet.registration.result import Errors, Registration
from internet.registration.timing import compare, why_not_fused

__all__ = [
    "Comparison",
    "Errors",
    "MixtureMotion",
    "Objective",
    "Problem",
    "Registration",
    "Weights",
    "compare",
    "fit",
    "register",
    "why_not_fused",
]
