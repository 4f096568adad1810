"""Which implementation serves a call."""

import json
from pathlib import Path

import torch

from internet.ops._requested import asked_for
from internet.ops._status import OPERATORS, compiled, devices, triton_kernels, why_not_on
from internet.utils.torch_internals import inside_functorch

TRITON_BEFORE_CUDA = frozenset(
    json.loads(Path(__file__).with_name("preference.json").read_text(encoding="utf-8"))["triton_before_cuda"]
)
"""The operators that Triton was measured to serve faster than CUDA; all others take CUDA."""


def _left_to_triton() -> frozenset[str]:
    """What Triton serves on a GPU by default: operators without a CUDA kernel, or with a slower one as measured.

    If there are none, Triton is not even loaded.
    """
    has_gpus = torch.version.cuda is not None or torch.version.hip is not None
    wanted = (frozenset(OPERATORS) - compiled["cuda"]) | TRITON_BEFORE_CUDA
    return wanted if has_gpus and wanted and not isinstance(triton_kernels(), str) else frozenset()


_triton_on_gpus = _left_to_triton()


def kind_of(device: torch.device) -> str:
    """The kind of device whose kernels serve a tensor; a meta tensor is traced as if for the CPU."""
    return "cpu" if device.type == "meta" else device.type


def _runs_on(gpu: torch.device) -> bool:
    """Whether the compiled kernels, if there are any, run on this GPU. While tracing, this is not tried."""
    return not compiled["cuda"] or torch.compiler.is_compiling() or not why_not_on(gpu.index)


def _fastest(operator: str, device: torch.device) -> str | None:
    kind = kind_of(device)
    if kind == "cuda" and not _runs_on(device):
        return None if isinstance(triton_kernels(), str) else "internet_triton"
    if kind == "cuda" and operator in _triton_on_gpus:
        # Triton's scatters have no deterministic form
        deterministic = operator in compiled["cuda"] and torch.are_deterministic_algorithms_enabled()
        return "internet" if deterministic else "internet_triton"
    return "internet" if operator in compiled.get(kind, ()) else None


def namespace_for(operator: str, device: torch.device) -> str | None:
    """The dispatcher's namespace with the operator that serves this call; None for the reference.

    "internet" is the namespace of compiled kernels, "internet_triton" that of Triton's. Call this exactly once
    for each call of an operator: activation checkpointing counts these calls.

    Raises:
        RuntimeError: the requested backend does not serve this device, or does not support `torch.func`.
    """
    asked = asked_for()
    if asked == "reference":
        return None
    if asked is None:
        return None if inside_functorch() else _fastest(operator, device)  # torch.func supports only the reference
    kind = kind_of(device)
    if kind not in devices[asked]:
        raise RuntimeError(f"{operator}: backend {asked!r} was asked for, but the tensors are on {device}")
    if asked != "triton" and operator not in compiled[kind]:
        return None
    if inside_functorch():
        raise RuntimeError(
            f"{operator}: the {asked} backend does not support torch.func transforms; "
            'use internet.ops.backend("reference"), or leave the choice to the library'
        )
    return "internet_triton" if asked == "triton" else "internet"
