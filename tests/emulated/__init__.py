"""The CUDA kernels on the processor, as the backend "cuda" for CPU tensors.

`INTERNET_EMULATED_CUDA=900 pytest tests/ops/...` runs any of the operators' tests on them: tests/conftest.py calls
`stand_in` then. docs/kernels.md says what that finds and what it cannot.
"""

import os
import sys
from typing import Any

import torch

VARIABLE = "INTERNET_EMULATED_CUDA"
"""An architecture that the sources tell apart, 900 or 800."""
LIBRARY_VARIABLE = "INTERNET_EMULATED_LIBRARY"
"""A library built elsewhere, instead of the one that `build` makes of this tree."""
NAMESPACE = "internet_emulated"

ASKED = os.environ.get(VARIABLE)


def stand_in() -> None:
    """Let the backend "cuda" be the emulation for the rest of this process: ready, and on CPU tensors."""
    from internet.ops import _choice, _dispatch, _status, fakes
    from tests.emulated.build import build

    path = os.environ.get(LIBRARY_VARIABLE) or build(int(ASKED or "900"))
    torch.ops.load_library(path)
    _register_fakes(fakes.by_name)
    served = _dispatch.namespace_for

    def namespace_for(operator: str, device: torch.device) -> str | None:
        return NAMESPACE if _choice.asked_for() == "cuda" else served(operator, device)

    for module in [module for name, module in sys.modules.items() if name.startswith("internet.ops.")]:
        if hasattr(module, "namespace_for"):
            module.namespace_for = namespace_for  # type: ignore[attr-defined]
    _status.devices["cuda"] = ("cpu",)
    _status._known["cuda"] = _status.Status(True)


def _register_fakes(fakes: dict[str, Any]) -> None:
    library = torch.library.Library(NAMESPACE, "FRAGMENT")
    for name, fake in fakes.items():
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=library)
    _kept.append(library)  # what it registered goes when it does


_kept: list[torch.library.Library] = []
