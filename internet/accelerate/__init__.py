"""One line for models that exist: ``internet.accelerate(model)``.

The modules of first-order-motion (and DaGAN), articulated-animation, thin-plate-spline motion, LIA (and EDTalk),
face-vid2vid (and SadTalker) and LivePortrait are found by class name and attributes, and compute the same with fused
operators, the source encoded once, and channels_last convolutions. docs/accelerate.md has what that gains.

This package is itself the function: ``internet.accelerate(model)`` is ``internet.accelerate.accelerate(model)``.
"""

import sys
from types import ModuleType
from typing import Any

from internet.accelerate.api import accelerate, restore
from internet.accelerate.report import Report, Row

__all__ = ["Report", "Row", "accelerate", "restore"]


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Report:
        return accelerate(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
