"""Make existing models faster with one line: ``internet.accelerate(model)``.

The modules of first-order-motion (and DaGAN), articulated-animation, thin-plate-spline motion, LIA (and EDTalk),
face-vid2vid (and SadTalker) and LivePortrait are recognised by class name and attributes. They compute the same with
fused operators, one encoding of the source, and channels_last convolutions. docs/accelerate.md lists the gains.

The package is callable: ``internet.accelerate(model)`` is ``internet.accelerate.accelerate(model)``.
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
