"""Calls that occupy many blocks of a GPU, and how the tests of the CUDA kernels compare them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import ADDED_IN_ANY_ORDER, assert_all_close, differentiate
from tests.support.evaluate import compiled_operators
from tests.support.samples import Sample

OPERATORS = compiled_operators("cuda")
SCATTERED = ADDED_IN_ANY_ORDER["cuda"]
"""Those whose first input has a gradient that many threads add to: only deterministic algorithms fix the order."""
LAYOUTS = ("contiguous", "channels_last", "strided")
SUMMATIONS = pytest.mark.parametrize("deterministic", [False, True], ids=["any order", "deterministic"])

_STATUS = internet.ops.backends()["cuda"]
ON_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not _STATUS.ready, reason=f"backend cuda: {_STATUS.reason}")]

# Many tiles, the last one not full, and, for the logits, several blocks that share an image. The warped channels
# form several vectors, of any type, and several layers of planes.
SIZES: dict[str, dict[str, Any]] = {
    "affine_mixture": {"batch": 3, "anchors": 10, "size": (61, 83), "threshold": 0.02},
    "upsample_motion": {"batch": 3, "size": (61, 83)},
    "confidence_warp": {"batch": 3, "channels": 72, "size": (17, 23), "ratio": 2},
    "pyramid_warp": {
        "levels": ((72, 1), (40, 2), (13, 4)),
        "size": (9, 13),
        "padding_mode": "border",
        "blend": [True, False, True],
    },
    "volume_warp": {"batch": 3, "channels": 72, "size": (5, 9, 11), "out": (4, 7, 13), "margin": 1e-5},
    "masked_backwarp_loss": {"channels": 5, "size": (36, 52), "ratio": 4, "norm": "l2", "reduction": "sum"},
    "flow_confidence": {"batch": 3, "size": (61, 148)},
    "soft_argmax": {"anchors": 10, "size": (61, 108), "jacobian_maps": 10, "covariance": True},
    "anchor_features": {"batch": 3, "anchors": 10, "size": (23, 27), "margin": 1e-5},
}


@contextmanager
def summation(deterministic: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def large(operator: str, dtype: torch.dtype, layout: str) -> Sample:
    return samples.build(operator, dtype, layout=layout, **SIZES.get(operator, {}))


def check_gradients(
    sample: Sample,
    *,
    deterministic: bool = False,
    wanted: Sequence[int] | None = None,
    incoming: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Gradients on the backend "cuda", which must be those of the reference in float64."""
    with summation(deterministic):
        got = differentiate(sample, "cuda", wanted, incoming)
    incoming = None if incoming is None else [gradient.double() for gradient in incoming]
    expected = differentiate(sample.upcast(), "reference", wanted, incoming)
    assert_all_close(got, expected, [gradient.dtype for gradient in got], f"{sample}: gradient")
    return got
