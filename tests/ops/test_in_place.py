"""Results may be changed in place before the backward pass, on every backend; for arguments, torch raises an error."""

import re

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import COMPILED, assert_all_close, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, Sample

BACKENDS = ["reference", *COMPILED]


def gradients(sample: Sample, device: str, *, factor: float = 1.0, change: int | None = None) -> list[Tensor]:
    """Gradients of all results times `factor`, in place; before that, argument number `change` is doubled in place."""
    leaves = [tensor.to(device).requires_grad_() for tensor in sample.tensors()]
    arguments = [leaf * 1 for leaf in leaves]
    results = tensors_of(sample.with_tensors(arguments)())
    if change is not None:
        arguments[change].mul_(2)
    for result in results:
        result.mul_(factor)
    return list(torch.autograd.grad([result.sum() for result in results], leaves))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_results_may_be_changed(operator: str, backend: str) -> None:
    device = require(backend, operator)
    sample = samples.build(operator, torch.float64)
    with internet.ops.backend(backend):
        expected = [4 * gradient for gradient in gradients(sample, device)]
        assert_all_close(gradients(sample, device, factor=4.0), expected, [torch.float64] * len(expected))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_arguments_that_are_needed_may_not(operator: str, backend: str) -> None:
    """The correct gradient, if a backend no longer needs the argument, or torch's error; nothing else."""
    device = require(backend, operator)
    sample = samples.build(operator, torch.float64)
    with internet.ops.backend(backend):
        expected = gradients(sample, device)
        for place in range(len(expected)):
            refusal = None
            try:
                found = gradients(sample, device, change=place)
            except RuntimeError as error:
                refusal = str(error)
            if refusal is None:
                assert_all_close(found, expected, [torch.float64] * len(expected), f"argument {place}")
            else:
                assert re.search("modified.* in-?place|inplace.* modified", refusal.replace("\n", " "))
