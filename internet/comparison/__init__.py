"""Fused operators against the usual formulations in plain torch, timed in alternation.

workloads: the operators' inputs at named sizes. eager: the usual formulations. timing: interleaved timing.
operators: five operators at the paper's sizes. frames: a whole model. steps: a step of any optimisation.
"""

from internet.comparison.steps import Comparison, compare_steps, not_compared, why_not_fused

__all__ = ["Comparison", "compare_steps", "not_compared", "why_not_fused"]
