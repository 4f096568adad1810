"""Autocast changes nothing inside an operator: coordinates stay in float32, data in its own dtype."""

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import BACKENDS, assert_repeated, cotangents, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, OPERATORS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_under_autocast(operator: str, backend: str, dtype: torch.dtype) -> None:
    """bfloat16 features are combined with float32 coordinates, as in a network under autocast."""
    device = require(backend, operator)
    sample = samples.build(operator, dtype).map(lambda tensor: tensor.to(device))
    found = []
    for enabled in (False, True):
        leaves = [tensor.clone().requires_grad_() for tensor in sample.tensors()]
        with internet.ops.backend(backend), torch.autocast(device, torch.bfloat16, enabled=enabled):
            results = tensors_of(sample.with_tensors(leaves)())
        gradients: tuple[Tensor, ...] = ()
        if operator in DIFFERENTIABLE:  # outside autocast, as torch recommends
            gradients = torch.autograd.grad(results, leaves, cotangents(results))
        found.append([*(result.detach() for result in results), *gradients])
    assert_repeated(found[1], found[0], operator, backend, f"{sample}: result or gradient")


def test_a_network_under_autocast() -> None:
    """Convolutions in bfloat16 around the operators, gradients in float32 at their weights."""
    features, head = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(3, 5, 3, padding=1)
    frame, points = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        maps = head(frame)
        assert maps.dtype == torch.bfloat16
        field = internet.ops.affine_mixture(maps[:, :4], points, points.flip(1))
        assert field.dtype == torch.float32
        warped = internet.ops.confidence_warp(features(frame), field, maps[:, 4:].sigmoid())
        assert warped.dtype == torch.bfloat16
    warped.float().square().mean().backward()
    for module in (features, head):
        assert module.weight.grad is not None
        assert module.weight.grad.isfinite().all()
        assert module.weight.grad.abs().max() > 0
