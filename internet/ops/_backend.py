"""Which implementation serves a call: the choice, and why one is not there."""

import functools
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from internet.utils import library

OPERATORS = (
    "affine_mixture",
    "upsample_motion",
    "confidence_warp",
    "pyramid_warp",
    "masked_backwarp_loss",
    "flow_confidence",
    "soft_argmax",
    "anchor_features",
)
TRITON_BEFORE_CUDA = frozenset(
    json.loads(Path(__file__).with_name("preference.json").read_text(encoding="utf-8"))["triton_before_cuda"]
)
"""The operators that Triton was measured to serve faster than CUDA; all others take CUDA."""

_DISPATCH_KEYS = {"cpu": "CPU", "cuda": "CUDA"}
_devices: dict[str, tuple[str, ...]] = {"cpu": ("cpu",), "cuda": ("cuda",), "triton": ("cuda",)}
"""The kinds of device that each backend but "reference", which takes all, serves. ROCm calls its GPUs "cuda"."""


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
    if "_C" not in library.loaded:
        return frozenset()
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return frozenset(kind for kind, key in _DISPATCH_KEYS.items() if has_kernel(f"internet::{operator}", key))


def _compiled_operators(device: str) -> frozenset[str]:
    """The operators that have a compiled kernel for this kind of device."""
    return frozenset(name for name in OPERATORS if device in devices_with_kernel(name))


_compiled = {device: _compiled_operators(device) for device in _DISPATCH_KEYS}


def _compiled_status(device: str, name: str) -> Status:
    if name not in library.loaded:
        return Status(False, library.reasons[name])
    if device == "cuda" and not torch.cuda.is_available():
        return Status(False, "torch finds no CUDA device")
    return Status(True, fallbacks=tuple(name for name in OPERATORS if name not in _compiled[device]))


@functools.cache
def _kernels() -> Any:
    """The package internet.kernels, which registers the Triton operators; a string, why not, if it does not load."""
    try:
        return importlib.import_module("internet.kernels")
    except ModuleNotFoundError as error:
        return f"the Python package {error.name!r} is not installed"
    except ImportError as error:
        return f"internet.kernels does not load: {error}"


def _triton_status() -> Status:
    if isinstance(_kernels(), str):
        return Status(False, _kernels())
    if _kernels().registry.INTERPRETED:
        _devices["triton"] = ("cpu", "cuda")
    elif not torch.cuda.is_available():
        return Status(False, "torch finds no GPU (TRITON_INTERPRET=1 runs the kernels on CPU tensors, for tests)")
    return Status(True)


def _left_to_triton() -> frozenset[str]:
    """What Triton serves on a GPU when nobody asks for a backend: what has no CUDA kernel, or one measured slower.

    Where that is nothing, Triton is not even loaded.
    """
    has_gpus = torch.version.cuda is not None or torch.version.hip is not None
    wanted = (frozenset(OPERATORS) - _compiled["cuda"]) | TRITON_BEFORE_CUDA
    return wanted if has_gpus and wanted and not isinstance(_kernels(), str) else frozenset()


@functools.cache
def _statuses() -> dict[str, Status]:
    return {
        "reference": Status(True),
        "cpu": _compiled_status("cpu", "_C"),
        "cuda": _compiled_status("cuda", "_C_cuda"),
        "triton": _triton_status(),
    }


def backends() -> Mapping[str, Status]:
    """Every backend by name, with its :class:`Status`: ``ready``, or ``reason`` why not."""
    return dict(_statuses())


def _checked(name: str, origin: str) -> str:
    if name not in _statuses():
        raise ValueError(f"{origin}: got {name!r}, expected one of {', '.join(_statuses())}")
    status = _statuses()[name]
    if not status.ready:
        raise RuntimeError(f"{origin}: {name!r} is {status}")
    return name


class _Choice:
    """The backend asked for, for the whole process; None leaves each call the fastest for its device."""

    name: str | None = None


_choice = _Choice()


class backend:  # noqa: N801 (a context manager, named like torch.no_grad)
    """Context manager that makes every operator use one backend.

    ``with internet.ops.backend("reference"): ...``. The environment variable ``INTERNET_BACKEND`` is the same for
    a whole run. Left alone, each call takes the fastest backend that serves its device. The choice is
    process-wide, not per thread; a backward pass uses the backend of its forward.

    Args:
        name: "reference", "cpu", "cuda" or "triton".

    Raises:
        ValueError: `name` is none of these.
        RuntimeError: the backend is not available here; the message says why.
    """

    def __init__(self, name: str) -> None:
        self.name: str | None = _checked(name, "backend")

    def __enter__(self) -> None:
        _choice.name, self.name = self.name, _choice.name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _choice.name, self.name = self.name, _choice.name


def kind_of(device: torch.device) -> str:
    """The kind of device whose kernels serve a tensor; a meta tensor is traced as if for the CPU."""
    return "cpu" if device.type == "meta" else device.type


def namespace_of(operator: str, device: torch.device) -> str | None:
    """Where the dispatcher has the operator that serves this call; None: the reference does.

    "internet" if there is a compiled kernel, "internet_triton" for Triton's.
    """
    asked, kind = _choice.name, kind_of(device)
    compiled = operator in _compiled.get(kind, ())
    if asked is None and kind == "cuda" and operator in _triton_on_gpus:
        # Triton's scatters have no deterministic form
        return "internet" if compiled and torch.are_deterministic_algorithms_enabled() else "internet_triton"
    if asked == "triton":
        return "internet_triton"
    return "internet" if compiled else None


def uses_compiled(operator: str, device: torch.device) -> bool:
    """Whether a compiled operator, or Triton's, serves this call; if not, the reference does."""
    asked = _choice.name
    if asked == "reference":
        return False
    kind = kind_of(device)
    if asked is not None and kind not in _devices[asked]:
        raise RuntimeError(f"{operator}: backend {asked!r} was asked for, but the tensors are on {device}")
    if namespace_of(operator, device) is None:
        return False
    if torch._C._are_functorch_transforms_active():  # the compiled operators have no rules for torch.func
        if asked is None:
            return False
        raise RuntimeError(
            f"{operator}: the {asked} backend does not support torch.func transforms; "
            'use internet.ops.backend("reference"), or leave the choice to the library'
        )
    return True


_triton_on_gpus = _left_to_triton()

if os.environ.get("INTERNET_BACKEND"):
    _choice.name = _checked(os.environ["INTERNET_BACKEND"], "INTERNET_BACKEND")
