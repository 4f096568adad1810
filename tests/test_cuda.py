"""The CUDA kernels on a GPU: `pytest -m gpu`.

The tests of values, gradients and the rest run on the backend "cuda" too wherever it is ready; here is what only a
GPU has: its streams and graphs, its many blocks, its memory.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from internet.ops import reference
from tests import samples
from tests.compare import assert_all_close, assert_identical, cotangents, differentiate, evaluate, tensors_of
from tests.evaluate import compiled_operators
from tests.samples import DIFFERENTIABLE, DTYPES, Sample
from tests.test_values import check

STATUS = internet.ops.backends()["cuda"]
OPERATORS = compiled_operators("cuda")
LAYOUTS = ("contiguous", "channels_last", "strided")

# Many tiles, the last one not full, and, for the logits, several blocks that share an image.
SIZES: dict[str, dict[str, Any]] = {
    "affine_mixture": {"batch": 3, "anchors": 10, "size": (61, 83), "threshold": 0.02},
    "upsample_motion": {"batch": 3, "size": (61, 83)},
}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not STATUS.ready, reason=f"backend cuda: {STATUS.reason}"),
]


def large(operator: str, dtype: torch.dtype, layout: str) -> Sample:
    return samples.build(operator, dtype, layout=layout, margin=0, **SIZES.get(operator, {}))


def results_and_gradients(sample: Sample) -> list[Tensor]:
    gradients = differentiate(sample, "cuda") if sample.operator in DIFFERENTIABLE else []
    return [*evaluate(sample, "cuda"), *gradients]


def step(sample: Sample) -> tuple[list[Tensor], Callable[[], list[Tensor]]]:
    """Leaves on the GPU, and a forward and backward pass over them."""
    leaves = [tensor.detach().cuda().requires_grad_(sample.operator in DIFFERENTIABLE) for tensor in sample.tensors()]
    incoming = [gradient.cuda() for gradient in cotangents(evaluate(sample, "cuda"))]

    def run() -> list[Tensor]:
        results = tensors_of(sample.with_tensors(leaves)())
        if sample.operator not in DIFFERENTIABLE:
            return results
        return [*(r.detach() for r in results), *torch.autograd.grad(results, leaves, incoming)]

    return leaves, run


@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_sample_is_the_reference(operator: str, dtype: torch.dtype, wild: bool) -> None:
    for sample in samples.samples(operator, dtype, wild=wild):
        check(sample, dtype, "cuda")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_are_the_references(operator: str, dtype: torch.dtype, layout: str) -> None:
    if operator not in DIFFERENTIABLE:
        pytest.skip(f"{operator} has no gradient")
    for sample in [*samples.samples(operator, dtype), large(operator, dtype, layout)]:
        incoming = cotangents(evaluate(sample, "reference"))
        got = differentiate(sample, "cuda", incoming=incoming)
        expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_bits_every_time(operator: str, dtype: torch.dtype, layout: str) -> None:
    sample = large(operator, dtype, layout)
    expected = results_and_gradients(sample)
    for _ in range(5):
        assert_identical(results_and_gradients(sample), expected, f"{sample}, {layout}: result or gradient")


@pytest.mark.parametrize("operator", OPERATORS)
def test_work_goes_to_the_current_stream(operator: str) -> None:
    """The inputs come into being late on a side stream; work on any other stream would not wait for them."""
    leaves, run = step(large(operator, torch.float32, "contiguous"))
    expected = run()
    values = [leaf.detach().clone() for leaf in leaves]
    with torch.no_grad():
        for leaf in leaves:
            leaf.fill_(torch.nan)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)
        with torch.no_grad():
            for leaf, value in zip(leaves, values, strict=True):
                leaf.copy_(value)
        found = run()
    side.synchronize()
    assert_identical(found, expected, operator)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_graph_captures_forward_and_backward(operator: str) -> None:
    """No call waits for the device, or memory is allocated past torch: either would break the capture."""
    first = large(operator, torch.float32, "contiguous")
    second = first.map(lambda tensor: tensor.flip(0))
    leaves, run = step(first)
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        run()
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    with torch.no_grad():
        for leaf, value in zip(leaves, second.tensors(), strict=True):
            leaf.copy_(value)
    graph.replay()
    torch.cuda.synchronize()
    assert_identical(captured, run(), operator)


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_call_waits_for_the_device(operator: str) -> None:
    _, run = step(large(operator, torch.float32, "contiguous"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_many_anchors_and_too_many() -> None:
    """The tiles get smaller with K; past what shared memory holds there is an error."""
    for dtype, most in ((torch.float32, 280), (torch.float64, 140)):
        for anchors in (33, 64, 100, most):
            for layout in ("contiguous", "channels_last"):
                size = {"batch": 2, "anchors": anchors, "size": (9, 15)}
                sample = samples.build("affine_mixture", dtype, layout=layout, **size)
                check(sample, dtype, "cuda")
                got, expected = differentiate(sample, "cuda"), differentiate(sample.upcast(), "reference")
                assert_all_close(got, expected, [dtype] * len(got), f"{anchors} anchors: gradient")
        points = torch.zeros(1, most + 1, 2, dtype=dtype, device="cuda")
        with pytest.raises(RuntimeError, match=f"{most + 1} anchors, at most {most}"):
            internet.ops.affine_mixture(torch.zeros(1, most + 2, 3, 3, dtype=dtype, device="cuda"), points, points)


def test_tensors_on_two_devices_are_refused() -> None:
    points = torch.zeros(1, 2, 2)
    with pytest.raises(RuntimeError, match="device"):
        internet.ops.affine_mixture(torch.zeros(1, 3, 4, 4, device="cuda"), points, points)


@pytest.mark.slow
def test_more_elements_than_32_bits_count() -> None:
    """An image of logits whose last plane begins past 2^31 elements; its end is compared with the reference."""
    side, channels = 27_000, 3  # 2.19e9 elements
    if torch.cuda.mem_get_info()[0] < 14 * 2**30:
        pytest.skip("less than 14 GiB of GPU memory are free")
    logits = torch.zeros(1, channels, side, side, dtype=torch.bfloat16, device="cuda")
    logits[..., -2:, :] = torch.randn(channels, 2, side, device="cuda", dtype=torch.bfloat16)
    points = torch.rand(2, 1, channels - 1, 2, device="cuda")
    field = internet.ops.affine_mixture(logits, points[0], points[1])[:, -2:]
    weights = logits[..., -2:, :].double().softmax(1)
    grid = torch.stack(
        torch.broadcast_tensors(
            reference.pixel_coordinates(side, False, weights),
            reference.pixel_coordinates(side, False, weights)[-2:, None],
        ),
        dim=-1,
    )
    affines = reference.anchor_affines(points[0].double(), points[1].double(), None, None)
    expected = (weights[..., None] * reference.local_motions(grid, *affines)).sum(1)
    assert_all_close([field], [expected], [torch.float32])
