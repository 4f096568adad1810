"""What a model makes, to look at: drawing, figures, charts, and pages that hold them."""

from internet.visualization import charts, draw, figures, report

__all__ = ["charts", "draw", "figures", "report"]
