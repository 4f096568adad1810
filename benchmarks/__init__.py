"""Measure how fast the operators are compared with others. `python -m benchmarks` lists the commands."""
