"""What a model makes, to look at: drawing, figures, charts, and pages that hold them."""
