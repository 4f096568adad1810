"""Second-order gradients: the reference has them; the compiled backends raise an error, never a silent zero."""

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import COMPILED, DEVICES, assert_repeated, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, Sample


def first_order(sample: Sample, backend: str) -> tuple[list[Tensor], list[Tensor]]:
    """A sample's leaves, and the gradients of a nonlinear loss with respect to them, as part of the graph."""
    leaves = [tensor.detach().to(DEVICES[backend]).requires_grad_() for tensor in sample.tensors()]
    with internet.ops.backend(backend):
        results = tensors_of(sample.with_tensors(leaves)())
    loss = torch.stack([result.square().sum() for result in results]).sum()
    return leaves, list(torch.autograd.grad(loss, leaves, create_graph=True))


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_second_order_raises(operator: str, backend: str) -> None:
    """For each gradient, with respect to each input."""
    require(backend, operator)
    leaves, gradients = first_order(samples.build(operator, torch.float64), backend)
    message = rf'internet\.ops\.{operator}: second-order gradients .* internet\.ops\.backend\("reference"\)'
    for gradient in gradients:
        for leaf in leaves:
            with pytest.raises(NotImplementedError, match=message):
                torch.autograd.grad(gradient.sum(), leaf, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_second_order_of_the_reference(operator: str) -> None:
    leaves, gradients = first_order(samples.build(operator, torch.float64), "reference")
    total = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    second = torch.autograd.grad(total, leaves)
    assert all(gradient.isfinite().all() for gradient in second)
    assert any(gradient.abs().max() > 0 for gradient in second)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_first_order_is_the_same_as_part_of_the_graph(operator: str, backend: str) -> None:
    require(backend, operator)
    sample = samples.build(operator, torch.float64)
    leaves, kept = first_order(sample, backend)
    with internet.ops.backend(backend):
        results = tensors_of(sample.with_tensors(leaves)())
    plain = torch.autograd.grad(torch.stack([result.square().sum() for result in results]).sum(), leaves)
    assert_repeated(kept, plain, operator, backend, f"{sample}: gradient")


def test_the_mask_of_two_flows_has_no_gradient() -> None:
    sample = samples.build("flow_confidence", torch.float32)
    for backend in ("reference", *COMPILED):
        with internet.ops.backend(backend):
            tracked = sample.map(lambda t, b=backend: t.to(DEVICES[b]).requires_grad_())
            assert not tracked().requires_grad
