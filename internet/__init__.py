"""Fused operators for motion-transfer networks: `internet.ops`."""

__version__ = "0.1.0"

from internet import _library, ops  # in this order: the operators are registered by _library

__all__ = ["__version__", "_library", "ops"]
