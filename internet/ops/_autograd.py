"""What the operators' autograd has in common.

Each operator is a ``torch.autograd.Function`` over the dispatcher's ``<namespace>::<name>`` and
``<namespace>::<name>_backward``: of the ways to register a gradient, the one with the least overhead per call. The
namespace is ``internet`` for compiled kernels and ``internet_triton`` for Triton's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from internet.ops._backend import namespace_of
from internet.ops.reference import memory_format_of
from internet.utils import library

fakes: dict[str, Callable[..., Any]] = {}
"""By name, what `register_fake` was given: operators in other namespaces have the same."""


def register_fake(operator: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an operator's shapes and dtypes for tracing; without the compiled library nothing traces it."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        fakes[operator] = function
        if "_C" in library.loaded:
            torch.library.register_fake(f"internet::{operator}", function)
        return function

    return register


def forward_operator(ctx: Any, name: str, data: Tensor) -> Any:
    """The dispatcher's operator for this call, by the backend chosen; `ctx` keeps which, for the backward."""
    ctx.namespace = namespace_of(name, data.device)
    return getattr(getattr(torch.ops, ctx.namespace), name).default


def backward_operator(ctx: Any, name: str) -> Any:
    """Its backward, by the same backend."""
    return getattr(getattr(torch.ops, ctx.namespace), f"{name}_backward").default


class NoContext:
    """A ``ctx`` that keeps nothing."""

    namespace: str

    def save_for_backward(self, *_: Tensor | None) -> None:
        pass

    def mark_non_differentiable(self, *_: Tensor) -> None:
        pass

    def set_materialize_grads(self, _: bool) -> None:
        pass


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """``function.apply(*arguments)``, without its overhead where nobody will ask for a gradient."""
    recorded = torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in arguments)
    if recorded or torch.compiler.is_compiling() or forward_ad._current_level >= 0:
        return function.apply(*arguments)
    return function.forward(NoContext(), *arguments)


class _RaiseOnSecondOrder(torch.autograd.Function):
    """The identity on gradients, and an error for whoever differentiates them."""

    @staticmethod
    def forward(ctx: Any, operator: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.operator = operator
        return tuple(gradient.view_as(gradient) for gradient in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError(
            f"internet.ops.{ctx.operator}: second-order gradients are not implemented in the compiled backends; "
            'use internet.ops.backend("reference") for them'
        )


def first_order(
    operator: str, gradients: Sequence[Tensor], needed: Sequence[bool], inputs: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients that are needed, None for the others.

    Under ``create_graph=True`` they are tied to the backward's `inputs` by a node that raises
    NotImplementedError: without it, differentiating them again would give a silent zero.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        given = [tensor for tensor in inputs if tensor is not None]
        gradients = _RaiseOnSecondOrder.apply(operator, len(gradients), *gradients, *given)
    return [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]


def empty(like: Tensor) -> Tensor:
    """What a compiled operator returns in place of a tensor nobody asked for."""
    return like.new_empty(0)


def like_or_empty(tensor: Tensor, needed: bool) -> Tensor:
    """Fake gradient of a coordinate tensor: contiguous."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format) if needed else empty(tensor)


def dense_like(tensor: Tensor) -> Tensor:
    """Fake output in the shape, dtype and layout of a data tensor."""
    return torch.empty_like(tensor, memory_format=memory_format_of(tensor))
