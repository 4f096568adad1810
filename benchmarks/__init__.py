"""How fast the operators are, and against what. `python -m benchmarks` lists the commands."""
