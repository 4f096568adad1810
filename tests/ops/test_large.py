"""Sizes beyond one vector, tile or band of rows, and not multiples of any: each backend against the reference."""

import pytest
import torch

from tests.support.compare import COMPILED, assert_all_close, assert_close, cotangents, differentiate, evaluate, require
from tests.support.samples import DIFFERENTIABLE, OPERATORS, large_samples


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "mixed"])
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_large_in_float64(operator: str, backend: str, layout: str) -> None:
    """Some positions come close to whole pixels, but none too close for float64."""
    require(backend, operator)
    for sample in large_samples(operator, torch.float64, layout):
        got, expected = evaluate(sample, backend), evaluate(sample.upcast(), "reference")
        if operator in DIFFERENTIABLE:
            got += differentiate(sample, backend)
            expected += differentiate(sample.upcast(), "reference")
        assert_all_close(got, expected, [torch.float64] * len(got), f"{sample}: result or gradient")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_large_in_less(operator: str, backend: str, layout: str, dtype: torch.dtype) -> None:
    """Values, and the gradient of the first tensor, which has no kinks: accumulated in float32 whatever its dtype."""
    require(backend, operator)
    for sample in large_samples(operator, dtype, layout):
        results, expected = evaluate(sample, backend), evaluate(sample.upcast(), "reference")
        if operator == "flow_confidence":  # a comparison of sides that are equal up to rounding may go either way
            assert (results[0].double() != expected[0]).double().mean() < 1e-3
            continue
        assert_all_close(results, expected, [result.dtype for result in results], str(sample))
        incoming = cotangents(results)
        got = differentiate(sample, backend, incoming=incoming)[0]
        wanted = differentiate(sample.upcast(), "reference", incoming=[gradient.double() for gradient in incoming])[0]
        assert_close(got, wanted, got.dtype, f"{sample}: gradient")
