"""`internet demo`: three acts and their page, or a training run of two minutes."""
