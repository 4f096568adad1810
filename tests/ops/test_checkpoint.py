"""Activation checkpointing: a backward pass recomputes the same results with the same backend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import internet
from tests.support import samples
from tests.support.compare import COMPILED, assert_all_close, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, Sample

Function = Callable[..., Tensor]


def loss_of(sample: Sample) -> Function:
    """The sample's results, squared and summed, as a function of its tensors."""

    def loss(*tensors: Tensor) -> Tensor:
        results = tensors_of(sample.with_tensors(tensors)())
        return torch.stack([result.square().sum() for result in results]).sum()

    return loss


def again(function: Function, use_reentrant: bool = False) -> Function:
    """The function, checkpointed."""
    return lambda *tensors: checkpoint(function, *tensors, use_reentrant=use_reentrant)


def gradients(function: Function, tensors: Sequence[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    function(*leaves).backward()  # with use_reentrant=True, the only way
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def on(backend: str | None) -> AbstractContextManager[None]:
    return nullcontext() if backend is None else internet.ops.backend(backend)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("backend", ["reference", *COMPILED])
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_every_operator(operator: str, backend: str, use_reentrant: bool) -> None:
    device = require(backend, operator)
    sample = samples.build(operator, torch.float64)
    tensors = [tensor.to(device) for tensor in sample.tensors()]
    function = loss_of(sample)
    with internet.ops.backend(backend):
        expected = gradients(function, tensors)
        found = gradients(again(function, use_reentrant), tensors)
    assert_all_close(found, expected, [torch.float64] * len(found))


@pytest.mark.parametrize("after", [None, "reference", "cpu"])
@pytest.mark.parametrize("forward", [None, "reference", "cpu"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_recomputation_uses_the_backend_of_the_forward(depth: int, forward: str | None, after: str | None) -> None:
    """Whichever backend is selected by then, and with nested contexts and regions in the checkpointed function."""
    sample = samples.build("confidence_warp", torch.float64)
    warp = loss_of(sample)
    used: list[list[str | None]] = [[]]

    def noted(*tensors: Tensor) -> Tensor:
        result = warp(*tensors)
        assert result.grad_fn is not None
        with internet.ops.backend("cpu"):
            result = result + warp(*tensors)
        used[-1].append(internet.ops._dispatch.namespace_for("confidence_warp", torch.device("cpu")))
        return result + warp(*(tensor.sin() for tensor in tensors))

    function: Function = noted
    for _ in range(depth):
        inner = function
        function = again(lambda *tensors, inner=inner: inner(*(tensor.cos() for tensor in tensors)))
    with on(forward):
        expected = gradients(function, sample.tensors())
        wanted = used.pop(0)[0] if used[0] else None
    used[:] = [[]]
    leaves = [tensor.requires_grad_() for tensor in sample.tensors()]
    with on(forward):
        result = function(*leaves)
    with on(after):
        found = list(torch.autograd.grad(result, leaves))
    assert len(used[0]) > 1  # it was recomputed
    assert set(used[0]) == {wanted}
    assert_all_close(found, expected, [torch.float64] * len(found))


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_a_graph_that_is_kept_is_computed_again_each_time(operator: str) -> None:
    sample = samples.build(operator, torch.float64)
    leaves = [tensor.requires_grad_() for tensor in sample.tensors()]
    with internet.ops.backend("reference"):
        result = again(loss_of(sample))(*leaves)
    first = torch.autograd.grad(result, leaves, retain_graph=True)
    second = torch.autograd.grad(result, leaves)
    assert_all_close(list(second), list(first), [torch.float64] * len(first))
