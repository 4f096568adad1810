"""Human motion transfer: fused operators (`internet.ops`), and the INTERnet that is built on them.

Names are imported on first use, so that the command line responds, and can be interrupted, before torch is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from internet import ops
    from internet.accelerate import accelerate as accelerate
    from internet.inference import animate_video
    from internet.model import INTERnet, INTERnetConfig, load_model, save_model

#: Packages; `accelerate` can be called.
_PACKAGES = ("accelerate", "ops")

#: Where each name comes from.
_MODULES = {
    "INTERnet": "internet.model",
    "INTERnetConfig": "internet.model",
    "animate_video": "internet.inference",
    "load_model": "internet.model",
    "save_model": "internet.model",
}

__all__ = [
    "INTERnet",
    "INTERnetConfig",
    "__version__",
    "accelerate",
    "animate_video",
    "load_model",
    "ops",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"internet.{name}")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'internet' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
