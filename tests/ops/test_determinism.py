"""CPU results are bitwise the same for any number of threads, and from run to run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import assert_identical, differentiate, evaluate, require
from tests.support.samples import DIFFERENTIABLE, OPERATORS

THREADS = (1, 2, 3, 4, 5, 7, 8, 11, 16)

# Large enough that every operator divides the work, and never a multiple of a vector or of a number of threads.
SIZES: dict[str, dict[str, Any]] = {
    "affine_mixture": {"batch": 3, "anchors": 7, "size": (61, 83), "threshold": 0.05},
    "upsample_motion": {"batch": 3, "size": (61, 83)},
    "confidence_warp": {
        "batch": 3,
        "channels": 11,
        "size": (31, 43),
        "ratio": 2,
        "padding_mode": "border",
        "blend": True,
    },
    "pyramid_warp": {
        "batch": 3,
        "levels": ((11, 1), (7, 2), (3, 4)),
        "features_sizes": [(17, 23), (37, 40), (61, 93)],
        "size": (17, 23),
        "upsampling": "interpolate",
        "blend": [False, True, True],
    },
    "volume_warp": {"batch": 3, "channels": 37, "size": (5, 17, 23), "out": (7, 13, 19), "padding_mode": "border"},
    "masked_backwarp_loss": {"batch": 3, "channels": 5, "size": (62, 86)},
    "flow_confidence": {"batch": 3, "size": (61, 83)},
    "soft_argmax": {"batch": 3, "anchors": 7, "size": (5, 31, 43), "covariance": True},
    "anchor_features": {"batch": 3, "anchors": 5, "channels": 3, "size": (61, 43)},
}


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results_and_gradients(sample: samples.Sample) -> list[Tensor]:
    gradients = differentiate(sample, "cpu") if sample.operator in DIFFERENTIABLE else []
    return [*evaluate(sample, "cpu"), *gradients]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_any_number_of_threads(operator: str, dtype: torch.dtype, layout: str) -> None:
    require("cpu", operator)
    check_threads(samples.build(operator, dtype, layout=layout, margin=0, **SIZES[operator]), layout)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("wide", [{"jacobians": False}, {"background": True, "covariances": True}], ids=str)
def test_any_number_of_threads_on_anchors_in_volumes(wide: dict[str, bool], layout: str) -> None:
    require("cpu", "anchor_features")
    size = {"batch": 1, "anchors": 3, "channels": 4, "size": (4, 37, 43)}
    check_threads(samples.build("anchor_features", torch.float32, layout=layout, margin=0, **size, **wide), layout)


def check_threads(sample: samples.Sample, layout: str) -> None:
    expected: list[Tensor] = []
    for threads in (*THREADS, 1):
        torch.set_num_threads(threads)
        assert torch.get_num_threads() == threads
        found = results_and_gradients(sample)
        expected = expected or found
        assert_identical(found, expected, f"{sample}{layout}, {threads} threads: result or gradient")


@pytest.mark.parametrize("operator", OPERATORS)
def test_calls_at_the_same_time(operator: str) -> None:
    """From several Python threads, as in data loaders and servers: they share no scratch memory."""
    require("cpu", operator)
    with internet.ops.backend("cpu"):  # selected once, outside the threads
        several = [samples.build(operator, torch.float32, seed=seed, margin=0, **SIZES[operator]) for seed in range(4)]
        expected = [results_and_gradients(sample) for sample in several]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(results_and_gradients, several * 3))
    for got, wanted in zip(found, expected * 3, strict=True):
        assert_identical(got, wanted, f"{operator}: result or gradient")


@pytest.mark.parametrize("operator", OPERATORS)
def test_denormal_numbers_are_back_after_a_call(operator: str) -> None:
    """Kernels flush them to zero for speed, and restore the previous mode."""
    require("cpu", operator)
    results_and_gradients(samples.build(operator, torch.float32))
    assert (torch.tensor([1e-40]) * torch.tensor([0.5])).item() > 0


@pytest.mark.parametrize("operator", ["confidence_warp", "masked_backwarp_loss"])
def test_samples_all_over_the_frame_and_any_number_of_threads(operator: str) -> None:
    """Kernels scatter these differently than for a smooth motion; how the work is divided has no effect."""
    require("cpu", operator)
    generator = torch.Generator().manual_seed(0)
    image, target, flow = (torch.randn(1, channels, 130, 41, generator=generator) for channels in (3, 3, 2))
    leaves = [t.requires_grad_() for t in (image, flow)]
    expected: list[Tensor] = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with internet.ops.backend("cpu"):
            if operator == "confidence_warp":
                result = internet.ops.confidence_warp(image, flow.permute(0, 2, 3, 1) / 2)
            else:
                result = internet.ops.masked_backwarp_loss(image, target, 50 * flow)
        found = [result, *torch.autograd.grad(result, leaves, torch.ones_like(result))]
        expected = expected or found
        assert_identical(found, expected, f"{operator}, {threads} threads: result or gradient")
