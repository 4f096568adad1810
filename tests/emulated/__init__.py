"""The CUDA kernels compiled for the CPU, as the backend "cuda" for CPU tensors.

`INTERNET_EMULATED_CUDA=900 pytest tests/ops/...` runs any of the operators' tests on them: tests/conftest.py calls
`stand_in` then. docs/kernels.md says what that finds and what it cannot.
"""

import os
import sys

import torch

VARIABLE = "INTERNET_EMULATED_CUDA"
"""The architecture: the value of __CUDA_ARCH__."""
LIBRARY_VARIABLE = "INTERNET_EMULATED_LIBRARY"
"""A library built elsewhere, instead of the one that `build` compiles from this tree."""
NAMESPACE = "internet_emulated"

ASKED = os.environ.get(VARIABLE)

ONCE = "not every_sample and not (test_cuda and (float64 or torch.float16)) and not (same_bits and bfloat16)"
"""Of tests/ops/test_cuda.py, what test_values.py has not tried, and types that all kernels have between them."""


def stand_in() -> None:
    """Make the emulation the backend "cuda" for the rest of this process: ready, and for CPU tensors."""
    if "tests.support.compare" in sys.modules:
        raise RuntimeError("tests.support.compare was imported earlier: its list of backends is without the emulation")
    from internet.ops import _dispatch, _requested, _status, fakes
    from tests.emulated.build import build

    torch.ops.load_library(os.environ.get(LIBRARY_VARIABLE) or build(int(ASKED or "900")))
    for name, fake in fakes.by_name.items():
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)
    namespace_for = _dispatch.namespace_for

    def emulated(operator: str, device: torch.device) -> str | None:
        namespace = namespace_for(operator, device)
        return NAMESPACE if namespace == "internet" and _requested.asked_for() == "cuda" else namespace

    for name, module in sys.modules.items():
        if name.startswith("internet.ops.") and getattr(module, "namespace_for", None) is namespace_for:
            module.namespace_for = emulated  # type: ignore[attr-defined]
    _status.devices["cuda"] = ("cpu",)
    _status._known["cuda"] = _status.Status(True)


_library = torch.library.Library(NAMESPACE, "FRAGMENT")
