"""The page of an evaluation: the table, the best and worst clips playing, curves, and the definition of each number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from internet.commands._shared.evaluation.run import VIDEOS, clip_stem
from internet.evaluation.clip_evaluation import SHOWN
from internet.evaluation.clip_result import ClipResult
from internet.evaluation.measure import Column
from internet.evaluation.suite import Suite
from internet.evaluation.summary import Mean, ranked
from internet.visualization import charts, report

#: How many of the best and of the worst clips are shown.
PLAYED = 2
#: Clips are ranked by the first of these that was measured.
RANKING = ("lpips", "pd_efficientnet", "ssim", "psnr")
#: Bytes of video in a page; clips that do not fit are only named.
VIDEO_BYTES = 48_000_000


def number(value: float) -> str:
    """Four digits; a dash for a missing value."""
    return "–" if np.isnan(value) else f"{value:.4g}"


def ranking_column(suite: Suite) -> Column:
    """The column by which clips are ranked."""
    by_key = {column.key: column for column in suite.columns}
    return next((by_key[key] for key in RANKING if key in by_key), suite.columns[0])


def means_table(suite: Suite, means: Mapping[str, Mean], clips: int) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the main table."""
    arrows = {"higher": "↑", "lower": "↓"}
    rows = []
    for column in suite.columns:
        mean = means[column.key]
        between = "–" if np.isnan(mean.low) else f"{number(mean.low)} to {number(mean.high)}"
        rows.append([f"{column.title} {arrows[column.better]}", number(mean.mean), between, number(mean.pooled)])
    return ["", f"mean of {clips} clip{'s' if clips > 1 else ''}", "95 % interval", "all clips together"], rows


def render(
    title: str,
    lead: str,
    folder: Path,
    suite: Suite,
    means: Mapping[str, Mean],
    clips: Sequence[ClipResult],
    facts: Mapping[str, str],
    command: str,
) -> bytes:
    """report.html."""
    sections = [
        report.section("The numbers", report.table(NOTE, *means_table(suite, means, len(clips)))),
        report.section("The best and the worst", *_played(folder, suite, clips)),
        report.section("Over time", report.plots(_curves(suite, clips))),
        report.section("Clip by clip", _clip_table(suite, clips)),
        report.section("What each number is", *_weights(suite)),
        report.section("How it was made", report.facts(facts), report.command(command)),
    ]
    return report.page(title, lead, sections)


NOTE = (
    "Means over clips with equal weights, with the bootstrap's interval over clips; distances of distributions also "
    "over all clips together. ↑ higher is better, ↓ lower is better."
)


def _chosen(suite: Suite, clips: Sequence[ClipResult]) -> dict[str, ClipResult]:
    """The clips that are shown, by their labels."""
    order = ranked(clips, ranking_column(suite))
    if len(order) == 1:
        return {"the clip": order[0]}
    count = min(PLAYED, len(order) // 2)
    best = {f"best{f' {place + 1}' if count > 1 else ''}": order[place] for place in range(count)}
    return best | {f"worst{f' {place}' if count > 1 else ''}": order[-place] for place in range(1, count + 1)}


def _played(folder: Path, suite: Suite, clips: Sequence[ClipResult]) -> list[str]:
    column, left = ranking_column(suite), VIDEO_BYTES
    blocks = [report.paragraph(f"By {column.title}, {column.better} is better.")]
    for label, clip in _chosen(suite, clips).items():
        path = folder / VIDEOS / f"{clip_stem(clips.index(clip))}.mp4"
        said = f"{label}: {clip.name}, {column.title} {number(clip.values[column.key])}"
        if path.stat().st_size > left:
            blocks.append(report.paragraph(f"{said}; its video is too large for the page: {path}"))
            continue
        left -= path.stat().st_size
        blocks.append(report.video(path.read_bytes(), said, (SHOWN,)))
    return blocks


def _curves(suite: Suite, clips: Sequence[ClipResult]) -> list[str]:
    """A chart for each measure with a curve: the best clip and the worst."""
    order = ranked(clips, ranking_column(suite))
    shown = {f"best: {order[0].name}": order[0]}
    if len(order) > 1:
        shown[f"worst: {order[-1].name}"] = order[-1]
    found = []
    for column in suite.columns:
        curves = {name: _points(clip.curves.get(column.key, [])) for name, clip in shown.items()}
        curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
        if curves:
            found.append(charts.line_chart(column.title, curves, across="frame"))
    return found


def _points(curve: Sequence[float]) -> list[tuple[float, float]]:
    return [(float(frame), value) for frame, value in enumerate(curve) if np.isfinite(value)]


def _clip_table(suite: Suite, clips: Sequence[ClipResult]) -> str:
    rows = [
        [clip.name, str(clip.frames), *(number(clip.values[column.key]) for column in suite.columns)] for clip in clips
    ]
    headings = ["clip", "frames", *(column.title for column in suite.columns)]
    return report.table(
        "Means over each clip's frames; for distributions, the distance within the clip.", headings, rows
    )


def _weights(suite: Suite) -> list[str]:
    blocks = [report.facts({column.title: _behind(column) for column in suite.columns})]
    if suite.missing:
        blocks += [report.paragraph("Not measured, and how to get it:"), report.facts(suite.missing)]
    return blocks


def _behind(column: Column) -> str:
    """What a number is, with which weights, and what it stands in for."""
    said = f"{column.about[0].upper()}{column.about[1:]}. "
    said += f"Weights: {column.weights}. " if column.weights else "A formula, without weights. "
    return said + (f"Stands in for {column.instead_of}." if column.instead_of else "")
