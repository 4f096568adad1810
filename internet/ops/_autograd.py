"""What the operators' autograd has in common.

Each operator is a ``torch.autograd.Function`` over the dispatcher's ``<namespace>::<name>`` and
``<namespace>::<name>_backward``: of the ways to register a gradient, the one with the least overhead per call. The
namespace is ``internet`` for compiled kernels and ``internet_triton`` for Triton's; it is the first argument of the
Function, which keeps it, so that a backward pass uses what its forward used.

A backward pass reads ``ctx.saved_tensors`` once: an activation checkpoint computes them again for each reading.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from internet.utils.torch_internals import inside_forward_mode, inside_jit_trace


def overload(namespace: str, name: str) -> Any:
    """The dispatcher's ``namespace::name``."""
    return getattr(getattr(torch.ops, namespace), name).default


class NoContext:
    """A ``ctx`` that keeps nothing."""

    def save_for_backward(self, *_: Tensor | None) -> None:
        pass

    def mark_non_differentiable(self, *_: Tensor) -> None:
        pass

    def set_materialize_grads(self, _: bool) -> None:
        pass


def is_recorded(arguments: Sequence[Any]) -> bool:
    """Whether a gradient may be asked for.

    Not of what `torch.jit.trace` records: it knows an ``autograd.Function`` as a call of Python, which cannot be saved.
    """
    wanted = torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in arguments)
    return wanted and (torch.compiler.is_compiling() or not inside_jit_trace())


def apply(function: type[torch.autograd.Function], namespace: str, *arguments: Any) -> Any:
    """``function.apply(namespace, *arguments)``, without its overhead where nobody will ask for a gradient."""
    if is_recorded(arguments) or torch.compiler.is_compiling() or inside_forward_mode():
        return function.apply(namespace, *arguments)
    return function.forward(NoContext(), namespace, *arguments)


class _RaiseOnSecondOrder(torch.autograd.Function):
    """The identity on gradients, and an error for whoever differentiates them."""

    @staticmethod
    def forward(ctx: Any, name: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.name = name
        return tuple(gradient.view_as(gradient) for gradient in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError(
            f"internet.ops.{ctx.name}: second-order gradients are not implemented in the compiled backends; "
            'use internet.ops.backend("reference") for them'
        )


def first_order(
    name: str, gradients: Sequence[Tensor], needed: Sequence[bool], inputs: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients that are needed, None for the others.

    Under ``create_graph=True`` they are tied to the backward's `inputs` by a node that raises
    NotImplementedError: without it, differentiating them again would give a silent zero.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        given = [tensor for tensor in inputs if tensor is not None]
        gradients = _RaiseOnSecondOrder.apply(name, len(gradients), *gradients, *given)
    return [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]
