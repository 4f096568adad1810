"""The parts of `python -m benchmarks gpu-report` and `python -m benchmarks publish`."""
