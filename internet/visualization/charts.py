"""Charts of numbers, drawn with matplotlib but without pyplot, and figures as files."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from internet.utils.optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]
"""Points (step, value)."""


def line_charts(charts: Mapping[str, Mapping[str, Curve]]) -> "Figure":
    """Charts beside each other, by their titles: each a few named curves over the steps of training."""
    figure_class: Any = require("matplotlib.figure", "drawing curves").Figure
    sheet = figure_class(figsize=(5 * len(charts), 3.6), layout="constrained")
    for axis, (title, curves) in zip(sheet.subplots(1, len(charts), squeeze=False)[0], charts.items(), strict=True):
        for name, points in curves.items():
            axis.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 20 else None)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return sheet


def png(figure: "Figure", dpi: int = 120) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()
