"""Table 2 from the jobs' files: means and deviations over seeds, and which of the paper's orders hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from internet.commands._shared.ablation.job import ANCHORS, MEASURED, SPENT, TRAINING, Job
from internet.commands._shared.ablation.schemes import ORDERS, SCHEMES
from internet.commands._shared.evaluation.run import read_metrics
from internet.evaluation.bootstrap import mean_interval
from internet.evaluation.measure import Column
from internet.training.curves import read_curves
from internet.visualization.charts import Curve

#: Columns of the table, if they were measured.
SHOWN = (
    *("ms_ssim", "psnr", "fid", "fd_efficientnet", "lpips", "pd_efficientnet", "interp_psnr", "interp_psnr_own"),
    *("act_recog_l1", "clip_l1_efficientnet", "akd", "e_warp"),
)

ANCHOR_COLUMNS = {
    "anchors_on_background": "anchors on the background",
    "weight_of_these": "weight of these",
    "confidence_person": "mean M, person",
    "confidence_background": "mean M, background",
}


@dataclass(frozen=True)
class Results:
    """The results of the finished jobs.

    columns: by key. clips: by scheme and seed, for each column the values of the clips. pooled: for all clips together.
    anchors, confidence: by scheme and seed, for the anchors, and the mean of M over training. steps: of training.
    """

    columns: dict[str, Column]
    clips: dict[tuple[str, int], dict[str, np.ndarray]]
    anchors: dict[tuple[str, int], dict[str, float]]
    confidence: dict[tuple[str, int], Curve]
    steps: dict[tuple[str, int], int]

    @property
    def schemes(self) -> list[str]:
        """The schemes that have results, in the table's order."""
        return [name for name in SCHEMES if any(scheme == name for scheme, _ in self.clips)]

    def seeds(self, scheme: str) -> list[int]:
        """The seeds of a scheme that have results."""
        return sorted(seed for name, seed in self.clips if name == scheme)

    def means(self, scheme: str, key: str) -> np.ndarray:
        """A value for each seed: the mean over clips."""
        values = [self.clips[scheme, seed][key] for seed in self.seeds(scheme)]
        return np.array([np.nanmean(clips) if np.isfinite(clips).any() else np.nan for clips in values])

    def anchor_means(self, scheme: str, name: str) -> np.ndarray:
        """A value for each seed."""
        return np.array([self.anchors[scheme, seed][name] for seed in self.seeds(scheme)])


def gather(jobs: Sequence[Job]) -> Results:
    """The results of the finished jobs."""
    done = [job for job in jobs if (job.place / ANCHORS).exists()]
    stored: dict[tuple[str, int], dict[str, Any]] = {
        (job.scheme, job.seed): read_metrics(job.place / MEASURED) for job in done
    }
    columns: dict[str, Column] = {}
    for metrics in stored.values():
        columns |= {key: Column(key, **described) for key, described in metrics["columns"].items() if key in SHOWN}
    columns = {key: columns[key] for key in SHOWN if key in columns}
    clips = {
        which: {key: np.array([clip["values"][key] for clip in metrics["clips"]]) for key in columns}
        for which, metrics in stored.items()
    }
    return Results(
        columns,
        clips,
        {(job.scheme, job.seed): json.loads((job.place / ANCHORS).read_text()) for job in done},
        {(job.scheme, job.seed): read_curves(job.place / TRAINING)["training/mean_confidence"] for job in done},
        {(job.scheme, job.seed): json.loads((job.place / SPENT).read_text())["steps"] for job in done},
    )


def table_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of Table 2: mean ± standard deviation over seeds."""
    arrows = {"higher": "↑", "lower": "↓"}
    headings = ["", "seeds", *(f"{column.title} {arrows[column.better]}" for column in results.columns.values())]
    rows = []
    for scheme in results.schemes:
        cells = [spread(results.means(scheme, key)) for key in results.columns]
        rows.append([SCHEMES[scheme].title, str(len(results.seeds(scheme))), *cells])
    return headings, rows


def anchor_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Headings and rows about anchors and M."""
    rows = []
    for scheme in results.schemes:
        ends = np.array([results.confidence[scheme, seed][-1][1] for seed in results.seeds(scheme)])
        cells = [spread(results.anchor_means(scheme, name)) for name in ANCHOR_COLUMNS]
        rows.append([SCHEMES[scheme].title, *cells, spread(ends)])
    return ["", *ANCHOR_COLUMNS.values(), "mean M, end of training"], rows


def spread(values: np.ndarray) -> str:
    """Such as "0.912 ± 0.004": the mean and, for at least two values, the sample standard deviation."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "–"
    return f"{known.mean():.4g}" + (f" ± {known.std(ddof=1):.2g}" if len(known) > 1 else "")


@dataclass(frozen=True)
class Order:
    """Whether one scheme is better than another by a column.

    gain: the mean difference, positive if the first is better; low, high: its 95 % interval over seeds and clips.
    wins: seeds for which it is better; seeds: that both have.
    """

    better: str
    worse: str
    column: Column
    gain: float
    low: float
    high: float
    wins: int
    seeds: int

    @property
    def verdict(self) -> str:
        """The verdict: decided only if the interval excludes 0 and all seeds, at least two, agree."""
        if self.seeds < 2:
            return "not decided"
        if self.low > 0 and self.wins == self.seeds:
            return "holds"
        return "reversed" if self.high < 0 and not self.wins else "not decided"


def orders(results: Results) -> list[Order]:
    """Each order of :data:`ORDERS` by each column, from the differences of pairs with the same seed and clip."""
    found = []
    for better, worse in ORDERS:
        seeds = [seed for seed in results.seeds(better) if seed in results.seeds(worse)]
        for key, column in results.columns.items() if seeds else ():
            sign = 1 if column.better == "higher" else -1
            each = [sign * (results.clips[better, seed][key] - results.clips[worse, seed][key]) for seed in seeds]
            gains = np.concatenate(each)
            if not np.isfinite(gains).any():
                continue
            wins = sum(float(np.nanmean(gain)) > 0 for gain in each if np.isfinite(gain).any())
            interval = mean_interval([float(gain) for gain in gains])
            found.append(Order(better, worse, column, float(np.nanmean(gains)), *interval, wins, len(seeds)))
    return found


def verdict_rows(found: Sequence[Order]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the overview of all orders: a row for each, a column for each measure."""
    columns = list(dict.fromkeys(order.column.title for order in found))
    verdicts: dict[str, dict[str, str]] = {}
    for order in found:
        verdicts.setdefault(_name(order), {})[order.column.title] = order.verdict.replace("not decided", "–")
    return ["", *columns], [[name, *(row.get(column, "") for column in columns)] for name, row in verdicts.items()]


def order_rows(found: Sequence[Order]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows."""
    rows = [
        [
            _name(order),
            order.column.title,
            f"{order.gain:+.3g}",
            "–" if np.isnan(order.low) else f"{order.low:+.3g} to {order.high:+.3g}",
            f"{order.wins} of {order.seeds}",
            order.verdict,
        ]
        for order in found
    ]
    return ["order", "by", "gain", "95 % interval", "seeds", ""], rows


def _name(order: Order) -> str:
    return f"{SCHEMES[order.better].title} better than {SCHEMES[order.worse].title}"


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves, at the steps that all have."""
    by_step: Mapping[float, list[float]] = {step: [] for step, _ in curves[0]}
    for curve in curves:
        for step, value in curve:
            if step in by_step:
                by_step[step].append(value)
    return [(step, float(np.mean(values))) for step, values in by_step.items() if len(values) == len(curves)]
