"""The page and the pictures of an ablation."""

from collections.abc import Mapping, Sequence

from internet.commands._shared.ablation.results import (
    Results,
    anchor_rows,
    mean_curve,
    order_rows,
    orders,
    table_rows,
    verdict_rows,
)
from internet.commands._shared.ablation.schemes import PAPER, PAPER_COLUMNS, SCHEMES
from internet.visualization import charts, report
from internet.visualization.figures import Panel


def render(
    results: Results,
    about: str,
    sheets: Mapping[str, Sequence[Sequence[Panel]]],
    facts: Mapping[str, str],
    command: str,
) -> bytes:
    """report.html.

    Args:
        results: of the finished jobs.
        about: a description of the data.
        sheets: rows of pictures, by caption.
        facts: further information.
        command: that continues it.
    """
    found = orders(results)
    paper = [[SCHEMES[name].title, *(f"{value:g}" for value in row)] for name, row in PAPER.items()]
    sections = [
        report.section(
            "Table 2",
            report.table("Mean ± standard deviation over seeds; all clips have equal weight.", *table_rows(results)),
            report.table("The paper's, on DanceFashion at 512 × 512", ("", *PAPER_COLUMNS), paper),
        ),
        report.section(
            "Which orders hold",
            report.table(VERDICT_NOTE, *verdict_rows(found)),
            report.table(ORDER_NOTE, *order_rows(found)),
        ),
        report.section(
            "Anchors and confidence",
            report.table(
                "In the driving frames of the measured clips; mean ± deviation over seeds.", *anchor_rows(results)
            ),
            report.plots(_curves(results)),
        ),
        report.section("Figures 7 and 8", *(report.gallery(caption, rows) for caption, rows in sheets.items())),
        report.section("How it was made", report.facts(facts), report.command(command)),
    ]
    return report.page("Ablation of temporal regularisation", about, sections)


VERDICT_NOTE = (
    "An order holds, or is reversed, if the interval below excludes 0 and all seeds, at least two, agree; otherwise "
    "nothing is decided."
)

ORDER_NOTE = (
    "Differences for the same seed and clip, positive if the first is better. The interval is the bootstrap's over "
    "these pairs; pairs of one seed share a model, so it is narrower than with many seeds."
)


def _curves(results: Results) -> list[str]:
    """The mean of M over training, each scheme compared with MS c."""
    curves = {
        scheme: mean_curve([results.confidence[scheme, seed] for seed in results.seeds(scheme)])
        for scheme in results.schemes
    }
    found = []
    for scheme, curve in curves.items():
        shown = {SCHEMES[scheme].title: curve}
        if scheme != "ms-c" and "ms-c" in curves:
            shown["MS c"] = curves["ms-c"]
        found.append(charts.line_chart(f"mean of M, {SCHEMES[scheme].title}", shown))
    return found
