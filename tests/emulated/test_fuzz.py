"""Random shapes, strides and offsets on the emulated CUDA kernels; test_emulated.py runs it.

INTERNET_FUZZ_SEED, by default 0, selects others.
"""

import os
import random
from typing import Any

import pytest
import torch

from tests import emulated
from tests.ops.test_values import check
from tests.support import samples
from tests.support.compare import assert_all_close, cotangents, differentiate, evaluate
from tests.support.samples import DIFFERENTIABLE, DTYPES, LAYOUTS, OPERATORS

pytestmark = pytest.mark.skipif(not emulated.ASKED, reason=f"only where {emulated.VARIABLE} is set")

SEED = int(os.environ.get("INTERNET_FUZZ_SEED", "0"))
ROUNDS = 12
"""Samples of each operator."""
SLACK = 4.0
"""Sample positions in large frames have larger rounding errors than in the usual samples."""


def draw(operator: str, dtype: torch.dtype, chance: random.Random) -> dict[str, Any]:
    """Parameters of a sample: odd sizes, a few of them 1.

    Norms with steep or discontinuous slopes only where rounding is too small to matter; no mean in float16, whose
    gradients would be subnormal.
    """
    norms = ["l1", "l2", "charbonnier"] if dtype == torch.float64 else ["l2"]
    size = (chance.randint(1, 19), chance.choice([1, 2, 3, 7, 31, 33, chance.randint(4, 40)]))
    batch, channels = chance.randint(1, 3), chance.choice([1, 2, 3, 4, 8, 12, chance.randint(5, 40)])
    padding = {"padding_mode": chance.choice(["zeros", "border"])}
    interpolated = {
        "upsampling": "interpolate",
        "interpolate_align_corners": chance.random() < 0.5,
        "features_size": (chance.randint(1, 19), chance.randint(1, 40)),
        "confidence_size": chance.choice([None, (chance.randint(1, 19), chance.randint(1, 40))]),
    }
    anchors = chance.choice([1, 2, 10, chance.randint(3, 40)])
    return {
        "affine_mixture": {
            "batch": batch,
            "anchors": anchors,
            "size": chance.choice([size, (chance.randint(1, 3), *size)]),
            "background": chance.choice([False, True]),
            "threshold": chance.choice([0.0, 0.02]),
        },
        "upsample_motion": {"batch": batch, "size": size},
        "confidence_warp": {
            "batch": batch,
            "channels": channels,
            "size": size,
            "ratio": chance.choice([1, 2]),
            **padding,
            **chance.choice([{}, interpolated]),
            "blend": chance.random() < 0.5,
        },
        "pyramid_warp": {
            "levels": ((channels, 1), (chance.randint(1, 9), 2)),
            "size": size,
            **padding,
            **chance.choice([{}, {"confidence_sizes": [None, size], "blend": [False, True]}]),
        },
        "volume_warp": {
            "batch": batch,
            "channels": channels,
            "size": (chance.randint(1, 5), *size),
            "out": (chance.randint(1, 5), *size),
            **padding,
        },
        "masked_backwarp_loss": {
            "channels": channels,
            "size": (4 * size[0], 4 * chance.randint(1, 9)),
            "ratio": chance.choice([1, 2, 4]),
            "norm": chance.choice(norms),
            "reduction": chance.choice(["sum", "none"] if dtype == torch.float16 else ["mean", "sum", "none"]),
            "padding_mode": chance.choice(["zeros", "border", "valid"]),
        },
        "flow_confidence": {"batch": batch, "size": size},
        "soft_argmax": {
            "anchors": anchors,
            "size": chance.choice([size, (chance.randint(1, 4), *size)]),
            "jacobian_maps": chance.choice([1, anchors]),
            "covariance": chance.random() < 0.5,
        },
        "anchor_features": {
            "batch": batch,
            "anchors": min(anchors, 12),
            "size": chance.choice([size, (chance.randint(1, 3), *size)]),
            "channels": chance.randint(1, 5),
            "background": chance.choice([False, True]),
            "covariances": chance.choice([False, True]),
        },
    }[operator]


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("operator", OPERATORS)
def test_random_inputs(operator: str, number: int) -> None:
    chance = random.Random(f"{SEED} {operator} {number}")
    dtype, layout = chance.choice(DTYPES), chance.choice([*LAYOUTS, "mixed"])
    parameters = draw(operator, dtype, chance)
    note = f"INTERNET_FUZZ_SEED={SEED}, number {number}: {dtype}, {layout}, {parameters}"
    sample = samples.build(operator, dtype, note=note, layout=layout, seed=number, margin=1e-5, **parameters)
    check(sample, dtype, "cuda")
    if operator not in DIFFERENTIABLE:
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(chance.random() < 0.5)
    try:
        incoming = cotangents(evaluate(sample, "cuda"))  # in the layout of the results
        got = differentiate(sample, "cuda", incoming=incoming)
    finally:
        torch.use_deterministic_algorithms(before)
    expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
    assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient", slack=SLACK)
