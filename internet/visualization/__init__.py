"""Pictures of motion: drawing, the paper's figures, charts."""
