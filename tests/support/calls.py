"""The calls of the dispatcher's operators that a sample makes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests import emulated
from tests.support.compare import cotangents, tensors_of
from tests.support.samples import DIFFERENTIABLE, Sample

NAMESPACES = ("internet", "internet_triton", emulated.NAMESPACE)


class Calls(TorchDispatchMode):
    """Records every call of an operator of this library, on any backend, with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in NAMESPACES:
            assert not kwargs
            self.made.append((func, pytree.tree_map_only(Tensor, torch.Tensor.detach, args)))
        return func(*args, **(kwargs or {}))


def calls_of(sample: Sample, device: str) -> list[tuple[Any, tuple[Any, ...]]]:
    """The calls of a sample: its operator and, with gradients for all inputs, its backward operator."""
    differentiable = sample.operator in DIFFERENTIABLE
    with Calls() as calls:
        results = tensors_of(sample.map(lambda t: t.detach().to(device).requires_grad_(differentiable))())
        if differentiable:
            torch.autograd.backward(results, cotangents(results))
    return calls.made
