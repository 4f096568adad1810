"""Visualisation of results: drawing, figures, charts, and the pages that contain them."""

from internet.visualization import charts, draw, figures, report

__all__ = ["charts", "draw", "figures", "report"]
