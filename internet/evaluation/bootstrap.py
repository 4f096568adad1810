"""Confidence intervals of means over clips or seeds."""

from collections.abc import Sequence

import numpy as np

#: The number of resamples, and the share of them inside an interval.
RESAMPLINGS, LEVEL = 4000, 0.95


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean (Efron's percentile method); (NaN, NaN) for fewer than two values.

    With few values it is too narrow: resampling three values cannot show what a fourth would be.
    """
    known = np.asarray([value for value in values if np.isfinite(value)])
    if len(known) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(known), size=(RESAMPLINGS, len(known)))
    low, high = np.quantile(known[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
