"""Autograd shared by all operators.

Each operator is a ``torch.autograd.Function`` over the dispatcher's ``<namespace>::<name>`` and
``<namespace>::<name>_backward``: of the ways to register a gradient, the one with the least overhead per call. The
namespace is ``internet`` for compiled kernels and ``internet_triton`` for Triton's; it is the first argument of the
Function, which keeps it, so that a backward pass uses what its forward used.

A backward pass reads ``ctx.saved_tensors`` only once: an activation checkpoint recomputes them on every access.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from internet.utils.torch_internals import apply_untransformed, inside_forward_mode, inside_jit_trace, without_python

_overloads: dict[tuple[str, str], Any] = {}


def overload(namespace: str, name: str) -> Any:
    """The dispatcher's ``namespace::name``, of which only calling is guaranteed to work."""
    found = None if torch.compiler.is_compiling() else _overloads.get((namespace, name))
    if found is None:
        found = getattr(getattr(torch.ops, namespace), name).default
        if not torch.compiler.is_compiling():
            found = _overloads[namespace, name] = without_python(found)
    return found


class NoContext:
    """A ``ctx`` that saves nothing."""

    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *_: Tensor | None) -> None:
        pass

    def mark_non_differentiable(self, *_: Tensor) -> None:
        pass

    def set_materialize_grads(self, _: bool) -> None:
        pass


def is_recorded(arguments: Sequence[Any]) -> bool:
    """Whether a gradient may be requested.

    False under `torch.jit.trace`, which would record an ``autograd.Function`` as a call into Python that cannot be
    saved.
    """
    if not torch.is_grad_enabled():
        return False
    for argument in arguments:  # twice as fast as any()
        if isinstance(argument, Tensor) and argument.requires_grad:
            return torch.compiler.is_compiling() or not inside_jit_trace()
    return False


def apply(function: type[torch.autograd.Function], namespace: str, *arguments: Any) -> Any:
    """``function.apply(namespace, *arguments)``, without its overhead if no gradient can be requested."""
    if torch.compiler.is_compiling() or inside_forward_mode():
        return function.apply(namespace, *arguments)
    if is_recorded(arguments):
        return apply_untransformed(function)(namespace, *arguments)
    return function.forward(NoContext(), namespace, *arguments)


class _RaiseOnSecondOrder(torch.autograd.Function):
    """The identity on gradients, which raises an error when it is differentiated itself."""

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
    name: str, gradients: Sequence[Tensor | None], needed: Sequence[bool], inputs: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients that are needed, None for the others.

    Under ``create_graph=True`` a node that raises NotImplementedError connects them to the backward's `inputs`.
    Without it, differentiating them again would silently give zero.
    """
    wanted = [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return wanted
    found, given = ([tensor for tensor in tensors if tensor is not None] for tensors in (wanted, inputs))
    tied = iter(_RaiseOnSecondOrder.apply(name, len(found), *found, *given))
    return [None if gradient is None else next(tied) for gradient in wanted]
