"""What `internet demo` does: the three acts and their page, or a training of two minutes."""
