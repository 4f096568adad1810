"""The CPU operators compiled for aarch64, NEON, and run there or under qemu: `make test-aarch64`.

Glue and kernels as they are, against the headers of `include/`, which stand for torch's: they make a program that
needs no torch, nor a Python for aarch64.
"""
