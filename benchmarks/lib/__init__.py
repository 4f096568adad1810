"""What all benchmarks share: workloads and their tensors, clocks, targets, tables."""
