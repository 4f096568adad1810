"""Charts for a page of :mod:`internet.visualization.report`, in HTML and SVG; their colours come from the page."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

Curve = Sequence[tuple[float, float]]
"""Points (step, value)."""

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 34


def line_chart(title: str, curves: Mapping[str, Curve], *, across: str = "step") -> str:
    """A `<figure>` with at most two named curves, and a description with the first and last value of each."""
    points = np.array([point for curve in curves.values() for point in curve], float)
    horizontal, vertical = ticks(*_range(points[:, 0])), ticks(*_range(points[:, 1]))
    (left, right), (low, high) = _limits(points[:, 0], ()), _limits(points[:, 1], vertical)

    def x(value: float) -> float:
        return LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in vertical
    ]
    parts += [
        f'<text x="{x(v):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{v:g}</text>'
        for v in horizontal
        if left <= v <= right
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(across)}</text>')
    kinds = ("first", "second")
    for kind, curve in zip(kinds, curves.values(), strict=False):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve)
        parts.append(f'<polyline class="{kind}" points="{path}"/>')
    said = "; ".join(f"{name}: from {curve[0][1]:.3g} to {curve[-1][1]:.3g}" for name, curve in curves.items())
    colours = ("var(--fused)", "var(--other)")
    keys = "".join(
        f'<li><i style="--colour: {colour}"></i>{escape(name)}</li>'
        for name, colour in zip(curves, colours, strict=False)
    )
    body = "\n".join(parts)
    return (
        f'<figure><h3>{escape(title)}</h3><ul class="legend">{keys}</ul>\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}. {escape(said)}">\n{body}\n'
        "</svg></figure>"
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that cover `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / count
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = magnitude * min(s for s in (1, 2, 5, 10) if s * magnitude >= raw * 0.999)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in np.arange(first, last + 1)]


def bar_chart(
    caption: str,
    bars: Mapping[tuple[str, str], Sequence[float]],
    series: Sequence[str],
    *,
    label: Callable[[float], str],
) -> str:
    """Groups of horizontal bars from 0 to the longest; each bar is labelled with its value.

    Args:
        caption: what the length of a bar means.
        bars: for each group, by its name and details, a value for each of the series.
        series: one or two names.
        label: writes a value, with its unit.
    """
    longest = max(value for values in bars.values() for value in values)
    kinds = [("", "var(--fused)"), (" second", "var(--fused-soft)")]
    keys = (
        f'<li><i style="--colour: {colour}"></i>{escape(name)}</li>'
        for name, (_, colour) in zip(series, kinds, strict=False)
    )
    groups = []
    for (name, details), values in bars.items():
        lines = (
            f'<div class="bar{kind}"><i style="--share: {value / longest:.4f}" aria-hidden="true"></i>'
            f'<b aria-label="{escape(one)}: {escape(label(value))}">{escape(label(value))}</b></div>'
            for one, value, (kind, _) in zip(series, values, kinds, strict=False)
        )
        heading = f'<div class="name"><code>{escape(name)}</code> <small>{escape(details)}</small></div>'
        groups.append(f"<li>{heading}{''.join(lines)}</li>\n")
    return (
        f'<figure><ul class="legend">{"".join(keys)}</ul>\n<ul class="chart">\n{"".join(groups)}</ul>\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _range(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest value, slightly apart if they are equal."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _limits(values: np.ndarray, marks: Sequence[float]) -> tuple[float, float]:
    low, high = _range(values)
    return min([low, *marks]), max([high, *marks])
