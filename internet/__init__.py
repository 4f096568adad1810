"""Fused operators for motion-transfer networks: `internet.ops`."""

__version__ = "0.1.0"

from internet import ops

__all__ = ["__version__", "ops"]
