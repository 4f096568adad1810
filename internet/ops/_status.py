"""The operators and the backends: which are ready here, and why the others are not."""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from internet.utils import library
from internet.utils.torch_internals import has_kernel

OPERATORS = (
    "affine_mixture",
    "upsample_motion",
    "confidence_warp",
    "pyramid_warp",
    "volume_warp",
    "masked_backwarp_loss",
    "flow_confidence",
    "soft_argmax",
    "anchor_features",
)
"""The names of the operators."""

_DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA"}
_LIBRARIES = {"cpu": "_C", "cuda": "_C_cuda"}
devices: dict[str, tuple[str, ...]] = {"cpu": ("cpu",), "cuda": ("cuda",), "triton": ("cuda",)}
"""The kinds of device that each backend serves; "reference" serves all. ROCm calls its GPUs "cuda"."""


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here, why not, and which operators it leaves to ``reference``."""

    ready: bool
    reason: str = ""
    fallbacks: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.ready:
            return f"not available: {self.reason}"
        if self.fallbacks:
            return f"ready; {', '.join(self.fallbacks)} served by reference"
        return "ready"


def devices_with_kernel(operator: str) -> frozenset[str]:
    """The kinds of device that have a compiled kernel for an operator."""
    kinds = (kind for kind, name in _LIBRARIES.items() if name in library.loaded)
    return frozenset(kind for kind in kinds if has_kernel(f"internet::{operator}", _DISPATCH_KEYS[kind]))


compiled = {kind: frozenset(name for name in OPERATORS if kind in devices_with_kernel(name)) for kind in _DISPATCH_KEYS}
"""For each kind of device, the operators that have a compiled kernel for it."""


@functools.cache
def why_not_on(gpu: int | None) -> str:
    """Why the CUDA kernels do not run on the GPU of this index, or on the current one; empty if they do.

    A GPU or a driver that is too old is noticed only when a kernel is launched, so one is launched on a tiny input.
    """
    field = torch.zeros(1, 1, 1, 2, device="cuda" if gpu is None else f"cuda:{gpu}")
    try:
        torch.ops.internet.upsample_motion(field, None)
    except RuntimeError as error:
        capability = "{}.{}".format(*torch.cuda.get_device_capability(gpu))
        reason = str(error).strip().splitlines()[0]
        return f"no kernels for {torch.cuda.get_device_name(gpu)}, of compute capability {capability}: {reason}"
    return ""


def _compiled_status(kind: str) -> Status:
    name = _LIBRARIES[kind]
    if name not in library.loaded:
        return Status(False, library.reasons[name])
    if kind == "cuda" and not torch.cuda.is_available():
        return Status(False, "torch finds no CUDA device")
    if kind == "cuda" and why_not_on(None):
        return Status(False, why_not_on(None))
    return Status(True, fallbacks=tuple(name for name in OPERATORS if name not in compiled[kind]))


@functools.cache
def triton_kernels() -> Any:
    """The package internet.kernels, which registers the Triton operators, or the reason why it does not load."""
    try:
        return importlib.import_module("internet.kernels")
    except ModuleNotFoundError as error:
        return f"the Python package {error.name!r} is not installed"
    except ImportError as error:
        return f"internet.kernels does not load: {error}"


def _triton_status() -> Status:
    kernels = triton_kernels()
    if isinstance(kernels, str):
        return Status(False, kernels)
    if kernels.registry.INTERPRETED:
        devices["triton"] = ("cpu", "cuda")
    elif not torch.cuda.is_available():
        return Status(False, "torch finds no GPU (TRITON_INTERPRET=1 runs the kernels on CPU tensors, for tests)")
    return Status(True)


_known = {"reference": Status(True), "cpu": _compiled_status("cpu")}
_NAMES = ("reference", "cpu", "cuda", "triton")


def _status(name: str) -> Status:
    """Evaluated on request, because it may initialise CUDA."""
    if name not in _known:
        _known[name] = _triton_status() if name == "triton" else _compiled_status(name)
    return _known[name]


def backends() -> Mapping[str, Status]:
    """Every backend by name, with its :class:`Status`: ``ready``, or the ``reason`` why it is not."""
    return {name: _status(name) for name in _NAMES}


def check_ready(name: str, origin: str) -> None:
    """Raise unless the backend of this name is ready. The message begins with `origin`, where the name came from."""
    if name not in _NAMES:
        raise ValueError(f"{origin}: got {name!r}, expected one of {', '.join(_NAMES)}")
    if not _status(name).ready:
        raise RuntimeError(f"{origin}: {name!r} is {_status(name)}")
