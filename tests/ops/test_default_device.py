"""`torch.set_default_device` changes nothing: operators work where their tensors are."""

import pytest
import torch

from tests.support import samples
from tests.support.compare import BACKENDS, assert_all_close, differentiate, evaluate, require
from tests.support.samples import DIFFERENTIABLE, OPERATORS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_tensors_elsewhere(operator: str, backend: str) -> None:
    require(backend, operator)
    sample = samples.build(operator, torch.float64)
    incoming = [torch.ones_like(result) for result in evaluate(sample, backend)]

    def found() -> list[torch.Tensor]:
        gradients = differentiate(sample, backend, incoming=incoming) if operator in DIFFERENTIABLE else []
        return [*evaluate(sample, backend), *gradients]

    expected = found()
    with torch.device("meta"):
        assert_all_close(found(), expected, [torch.float64] * len(expected))
