"""Sizes beyond one vector, tile or band of rows, and not multiples of any: each backend against the reference."""

from typing import Any

import pytest
import torch

from tests import samples
from tests.compare import COMPILED, assert_all_close, assert_close, cotangents, differentiate, evaluate, require
from tests.samples import DIFFERENTIABLE, OPERATORS

SIZES: dict[str, list[dict[str, Any]]] = {
    "affine_mixture": [
        {"anchors": 20, "size": (37, 301), "threshold": 0.02},
        {"batch": 5, "anchors": 10, "size": (129, 33)},
    ],
    "upsample_motion": [{"size": (37, 301)}, {"size": (129, 33)}],
    "confidence_warp": [
        {"channels": 131, "size": (19, 37)},
        {"channels": 3, "size": (150, 301), "padding_mode": "border"},
        {"channels": 66, "size": (9, 21), "ratio": 4},
        {"channels": 5, "size": (70, 10), "ratio": 2, "align_corners": True},
        {"channels": 34, "size": (5, 6), "ratio": 8, "padding_mode": "border"},
    ],
    "pyramid_warp": [{"levels": ((131, 1), (66, 2), (33, 4)), "size": (13, 21)}],
    "masked_backwarp_loss": [  # a square has no kink, and a sum no gradients too small for float16
        {"channels": 3, "size": (152, 304), "ratio": 4, "reach": 20.0, "norm": "l2", "reduction": "sum"},
        {"channels": 67, "size": (34, 46), "padding_mode": "zeros", "norm": "l2", "reduction": "sum"},
        {"channels": 4, "size": (131, 70), "ratio": None, "padding_mode": "valid", "norm": "l2", "reduction": "sum"},
        {"channels": 3, "size": (64, 96), "ratio": 8, "norm": "l2", "reduction": "none"},
    ],
    "flow_confidence": [{"size": (150, 301)}, {"batch": 5, "size": (129, 33)}],
    "soft_argmax": [{"anchors": 10, "size": (64, 65)}],
    "anchor_features": [{"anchors": 10, "size": (64, 65)}],
}
CASES = [
    pytest.param(operator, parameters, id=f"{operator}-{number}")
    for operator in OPERATORS
    for number, parameters in enumerate(SIZES[operator])
]


@pytest.fixture(autouse=True)
def _any_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many samples cannot all keep clear of whole pixels; in float64 they come close enough to none."""
    monkeypatch.setattr(samples, "MARGIN", -1.0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "mixed"])
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("operator", "parameters"), CASES)
def test_large_in_float64(operator: str, parameters: dict[str, Any], backend: str, layout: str) -> None:
    require(backend, operator)
    sample = samples.build(operator, torch.float64, layout=layout, **parameters)
    got, expected = evaluate(sample, backend), evaluate(sample.upcast(), "reference")
    if operator in DIFFERENTIABLE:
        got += differentiate(sample, backend)
        expected += differentiate(sample.upcast(), "reference")
    assert_all_close(got, expected, [torch.float64] * len(got), "result or gradient")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize(("operator", "parameters"), CASES)
def test_large_in_less(
    operator: str, parameters: dict[str, Any], backend: str, layout: str, dtype: torch.dtype
) -> None:
    """Values, and the gradient of the first tensor, which has no kinks: accumulated in float32 whatever its dtype."""
    require(backend, operator)
    sample = samples.build(operator, dtype, layout=layout, **parameters)
    results = evaluate(sample, backend)
    if operator == "flow_confidence":  # a comparison may fall either way where its two sides are equal but for rounding
        assert (results[0].double() != evaluate(sample.upcast(), "reference")[0]).double().mean() < 1e-3
        return
    assert_all_close(results, evaluate(sample.upcast(), "reference"), [r.dtype for r in results])
    incoming = cotangents(results)
    got = differentiate(sample, backend, incoming=incoming)[0]
    expected = differentiate(sample.upcast(), "reference", incoming=[gradient.double() for gradient in incoming])[0]
    assert_close(got, expected, got.dtype, "gradient")
