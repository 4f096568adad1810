"""Fused against eager: what the field writes in plain torch, and the same work timed turn by turn."""

from internet.comparison.steps import Comparison, compare_steps, not_compared, why_not_fused

__all__ = ["Comparison", "compare_steps", "not_compared", "why_not_fused"]
