"""How fast the operators are, and against what: see `python -m benchmarks.compare --help`."""
