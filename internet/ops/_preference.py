"""Written by `python -m benchmarks.publish` from no report."""

TRITON_BEFORE_CUDA: frozenset[str] = frozenset()
"""The operators that Triton was measured to serve faster than CUDA; all others take CUDA."""
