"""Fused against eager: what the field writes in plain torch, and the same work timed turn by turn.

workloads: the operators' inputs at named sizes. eager: what the field writes. timing: both in turn.
operators: five operators at the paper's sizes. frames: a whole model. steps: a step of any optimisation.
"""

from internet.comparison.steps import Comparison, compare_steps, not_compared, why_not_fused

__all__ = ["Comparison", "compare_steps", "not_compared", "why_not_fused"]
