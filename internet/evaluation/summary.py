"""Results over all clips: means with their intervals, and distances of distributions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from internet.evaluation.bootstrap import mean_interval
from internet.evaluation.clip_result import ClipResult
from internet.evaluation.measure import Column
from internet.evaluation.suite import Suite


class Mean(NamedTuple):
    """Over clips with equal weights: the mean, its 95 % interval, and the value over all clips together.

    `pooled` is NaN for measures that are computed per frame.
    """

    mean: float
    low: float
    high: float
    pooled: float


def summarise(suite: Suite, clips: Sequence[ClipResult]) -> dict[str, Mean]:
    """Summaries by the columns' keys."""
    pooled: dict[str, float] = {}
    for measure in suite.measures:
        pooled |= measure.pooled([clip.features for clip in clips])
    return {column.key: _mean(clips, column.key, pooled) for column in suite.columns}


def _mean(clips: Sequence[ClipResult], key: str, pooled: dict[str, float]) -> Mean:
    values = [clip.values[key] for clip in clips]
    known = [value for value in values if not np.isnan(value)]
    mean = float(np.mean(known)) if known else float("nan")
    return Mean(mean, *mean_interval(values), pooled.get(key, float("nan")))


def ranked(clips: Sequence[ClipResult], column: Column) -> list[ClipResult]:
    """The clips, best first by this column; those without a value come last."""
    return sorted(clips, key=lambda clip: (np.isnan(clip.values[column.key]), column.badness(clip.values[column.key])))
