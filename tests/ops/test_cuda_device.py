"""What only a GPU has: its streams and graphs, its memory, a second device. `pytest -m gpu`."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import internet
from internet.ops import reference
from tests.support.compare import assert_all_close, assert_identical, cotangents, evaluate, tensors_of
from tests.support.many_tiles import LAYOUTS, ON_CUDA, OPERATORS, SCATTERED, SUMMATIONS, large, summation
from tests.support.samples import DIFFERENTIABLE, Sample

pytestmark = ON_CUDA


def assert_same(found: list[Tensor], expected: list[Tensor], operator: str, same_bits: bool) -> None:
    """Bitwise, or, where the order of sums is not fixed, up to rounding."""
    if same_bits:
        assert_identical(found, expected, operator)
    else:
        assert_all_close(found, expected, [tensor.dtype for tensor in found], operator)


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_work_goes_to_the_current_stream(operator: str, layout: str) -> None:
    """The inputs are computed late on a side stream; work on any other stream would not wait for them."""
    leaves, run = step(large(operator, torch.float32, layout))
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
    assert_same(found, expected, operator, same_bits=operator not in SCATTERED)


@SUMMATIONS
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_graph_captures_forward_and_backward(operator: str, deterministic: bool) -> None:
    """No call waits for the device or allocates memory without torch: either would break the capture."""
    with summation(deterministic):
        captured, expected = capture_and_replay(operator)
    assert_same(captured, expected, operator, same_bits=deterministic or operator not in SCATTERED)


def capture_and_replay(operator: str) -> tuple[list[Tensor], list[Tensor]]:
    """The results of a captured step on inputs set after the capture, and those of a step without a graph."""
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
    return captured, run()


@SUMMATIONS
@pytest.mark.parametrize("operator", OPERATORS)
def test_no_call_waits_for_the_device(operator: str, deterministic: bool) -> None:
    _, run = step(large(operator, torch.float32, "contiguous"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        with summation(deterministic):
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@SUMMATIONS
@pytest.mark.parametrize("operator", OPERATORS)
def test_compiles_as_it_runs(operator: str, deterministic: bool) -> None:
    """`fullgraph=True`: the traced backward pass checks for deterministic algorithms without a graph break."""
    sample = large(operator, torch.float32, "contiguous")
    leaves, run = step(sample)
    incoming = [gradient.cuda() for gradient in cotangents(evaluate(sample, "cuda"))]
    sample = sample.with_tensors(leaves)
    torch._dynamo.reset()
    compiled = torch.compile(lambda: tensors_of(sample()), fullgraph=True, backend="aot_eager")
    with summation(deterministic):
        results = compiled()
        found = [result.detach() for result in results]
        if operator in DIFFERENTIABLE:
            found += torch.autograd.grad(results, leaves, incoming)
        assert_same(found, run(), operator, same_bits=deterministic or operator not in SCATTERED)


def test_the_gradient_of_jacobian_maps_has_their_layout() -> None:
    maps = torch.randn(2, 12, 5, 7, device="cuda").to(memory_format=torch.channels_last).unflatten(1, (3, 4))
    maps.requires_grad_()
    _, jacobians = internet.ops.soft_argmax(torch.randn(2, 3, 5, 7, device="cuda"), maps)
    assert jacobians is not None
    (gradient,) = torch.autograd.grad(jacobians.sum(), maps)
    assert gradient.stride() == maps.stride()


@pytest.mark.parametrize("operator", OPERATORS)
def test_tensors_on_two_devices_are_refused(operator: str) -> None:
    sample = large(operator, torch.float32, "contiguous")
    first, *others = sample.tensors()
    with pytest.raises(RuntimeError, match="device"):
        sample.with_tensors([first.cuda(), *others])()


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


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_warps_of_more_elements_than_32_bits_count(memory_format: torch.memory_format) -> None:
    """By the identity, upsampled three times: except at the frame's edge it changes nothing.

    There are many features in a small frame, because the weights of a pixel add up to 1 only up to the rounding of
    positions, which grows with the frame.
    """
    ratio, channels = 8, 64
    side = 750 * ratio  # 2.3e9 elements
    if torch.cuda.mem_get_info()[0] < 48 * 2**30:
        pytest.skip("less than 48 GiB of GPU memory are free")
    shape = (1, channels, side, side)
    features = torch.empty(shape, dtype=torch.bfloat16, device="cuda", memory_format=memory_format).zero_()
    rows, columns = torch.arange(64, device="cuda"), torch.arange(side, device="cuda")
    wave = 2 + torch.sin(0.05 * rows[:, None] + 0.03 * columns)  # so slow that a position's rounding does not matter
    features[0, :, -64:] = wave * torch.arange(1, channels + 1, device="cuda")[:, None, None]
    field = reference.identity_grid((side // ratio, side // ratio), False, torch.zeros(0, device="cuda"))[None]
    features.requires_grad_()
    warped = internet.ops.confidence_warp(features, field)
    (gradient,) = torch.autograd.grad(warped, features, features.detach())
    part = (..., slice(-56, -16), slice(-2000, -16))  # of all planes
    expected = features.detach()[part]
    assert_all_close([warped.detach()[part], gradient[part]], [expected.double()] * 2, [torch.bfloat16] * 2)
