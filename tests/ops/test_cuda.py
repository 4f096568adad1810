"""The CUDA kernels on a GPU: `pytest -m gpu`.

The tests of values, gradients and the rest run on the backend "cuda" too wherever it is ready; here is what only a
GPU has: its streams and graphs, its many blocks, its memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from internet.ops import reference
from tests import emulated
from tests.ops.test_values import check
from tests.support import samples
from tests.support.compare import (
    DEVICES,
    assert_all_close,
    assert_identical,
    cotangents,
    differentiate,
    evaluate,
    tensors_of,
)
from tests.support.evaluate import compiled_operators
from tests.support.samples import DIFFERENTIABLE, DTYPES, Sample
from tests.support.samples.sample import Size

STATUS = internet.ops.backends()["cuda"]
OPERATORS = compiled_operators("cuda")
LAYOUTS = ("contiguous", "channels_last", "strided")
SUMMATIONS = pytest.mark.parametrize("deterministic", [False, True], ids=["any order", "deterministic"])

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

# How many of the first inputs have gradients that many threads add to: only deterministic algorithms fix the order.
SCATTERED = {"volume_warp": 1, "masked_backwarp_loss": 1, "anchor_features": 1}
MOVED = ("confidence_warp", "pyramid_warp", "volume_warp", "masked_backwarp_loss")

RUNS = 3 if emulated.ASKED else 6
"""Of one step, whose bits are compared: the emulation's order is another one every time, a GPU's need not be."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not STATUS.ready, reason=f"backend cuda: {STATUS.reason}"),
]


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


def shrinking(sample: Sample) -> Sample:
    """The same call with a motion with which neighbours sample neighbours, and sometimes the same pixels.

    With a random motion, neighbouring threads hardly ever merge contributions to the same pixels before the atomics,
    and a pixel hardly ever has more than a few readers.
    """
    tensors = sample.tensors()
    place = {"pyramid_warp": len(tensors) - 2, "masked_backwarp_loss": 2}.get(sample.operator, 1)
    motion = tensors[place]
    if sample.operator == "masked_backwarp_loss":
        rows, columns = (torch.arange(size, dtype=torch.float64) for size in motion.shape[2:])
        values = torch.stack(torch.broadcast_tensors(3.3 - 0.17 * columns, (2.2 - 0.13 * rows)[:, None]))
    else:
        grid = reference.identity_grid(motion.shape[1:-1], False, torch.zeros(0).double())
        values = 0.83 * grid + 0.0517
    tensors[place] = motion.clone().copy_(values.expand_as(motion))
    return sample.with_tensors(tensors)


def assert_same(found: list[Tensor], expected: list[Tensor], operator: str, same_bits: bool) -> None:
    """Bitwise, or, where the order of sums is not fixed, up to rounding."""
    if same_bits:
        assert_identical(found, expected, operator)
    else:
        assert_all_close(found, expected, [tensor.dtype for tensor in found], operator)


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
def test_values_are_the_references(operator: str, dtype: torch.dtype, layout: str) -> None:
    check(large(operator, dtype, layout), dtype, "cuda")


@SUMMATIONS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_are_the_references(operator: str, dtype: torch.dtype, layout: str, deterministic: bool) -> None:
    if operator not in DIFFERENTIABLE:
        pytest.skip(f"{operator} has no gradient")
    tested = [large(operator, dtype, layout)]
    if operator in SCATTERED and operator != "anchor_features":
        tested.append(shrinking(tested[-1]))
    if deterministic and layout == LAYOUTS[0]:  # in any order they are test_gradients.py's
        tested += samples.samples(operator, dtype)
    for sample in tested:
        incoming = cotangents(evaluate(sample, "reference"))
        with summation(deterministic):
            got = differentiate(sample, "cuda", incoming=incoming)
        expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_bits_every_time(operator: str, dtype: torch.dtype, layout: str) -> None:
    """With deterministic algorithms; also without them, except for scattered gradients."""
    sample = large(operator, dtype, layout)
    results = len(evaluate(sample, "cuda"))
    scattered = range(results, results + SCATTERED.get(operator, 0))
    for deterministic in (True, False):
        with summation(deterministic):
            first, *others = (results_and_gradients(sample) for _ in range(RUNS))
        kept = [place for place in range(len(first)) if deterministic or place not in scattered]
        for other in others:
            what = f"{sample}, {layout}: result or gradient"
            assert_identical([other[place] for place in kept], [first[place] for place in kept], what)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_of_pixels_with_many_readers(layout: str) -> None:
    """Hundreds, dozens and a few: the order in which they are added up is found in three ways."""
    sample = large("confidence_warp", torch.float32, layout)
    tensors = sample.tensors()
    tensors[1] = 0.1 * tensors[1] ** 5  # most pixels read what is around the centre
    sample = sample.with_tensors(tensors)
    first, *others = (differentiate(sample, "cuda") for _ in range(RUNS))
    for other in others:
        assert_identical(other, first, f"{sample}, {layout}: gradient")
    expected = differentiate(sample.upcast(), "reference")
    assert_all_close(first, expected, [torch.float32] * len(first), f"{sample}, {layout}: gradient")


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", [name for name in OPERATORS if name in SCATTERED])
def test_deterministic_sums_keep_what_is_not_finite(operator: str, dtype: torch.dtype, value: float) -> None:
    """Fixed point has no infinity: non-finite values turn exactly the sums that they contribute to into NaN.

    The others are as precise as ever.
    """
    sample = large(operator, dtype, "contiguous")
    incoming = cotangents(evaluate(sample, "cuda"))
    for gradient in incoming:
        gradient.flatten()[: max(gradient.numel() // 3, 1)] = value
    expected = differentiate(sample.upcast(), "reference", wanted=[0], incoming=[i.double() for i in incoming])
    assert expected[0].isfinite().any()
    with summation(deterministic=True):
        got = differentiate(sample, "cuda", wanted=[0], incoming=incoming)
    assert_all_close(got, expected, [dtype], f"{sample}: gradient")


@SUMMATIONS
@pytest.mark.parametrize("norm", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("place", [0, 1], ids=["output", "target"])
def test_a_loss_of_frames_that_are_not_finite(place: int, norm: str, deterministic: bool) -> None:
    """A NaN in a frame reaches the gradients of exactly those pixels that share an output pixel with it."""
    sample = samples.build("masked_backwarp_loss", torch.float32, size=(16, 24), norm=norm)
    tensors = sample.tensors()
    tensors[place] = tensors[place].clone()
    tensors[place][:, :, 5, 7] = torch.nan
    sample = sample.with_tensors(tensors)
    with summation(deterministic):
        got = differentiate(sample, "cuda", wanted=[0])[0].isfinite()
    expected = differentiate(sample.upcast(), "reference", wanted=[0])[0].isfinite()
    assert not got.all()
    assert torch.equal(got.cpu(), expected)


COLUMNS = torch.arange(40)
OUTSIDE = (COLUMNS % 2 == 1) & (COLUMNS < 20)
AT_THE_EDGE = COLUMNS == 20


def in_and_out(operator: str, layout: str) -> Sample:
    """A call in which pixels OUTSIDE read nothing, and one AT_THE_EDGE reads the frame's first column alone.

    The others read one column further each, so that lanes could merge what they add to the same pixels.
    """
    x = torch.where(COLUMNS < 20, COLUMNS + 0.3, COLUMNS - 20 + 0.3)
    x[AT_THE_EDGE] = -0.5
    if operator == "volume_warp":
        sample = samples.build(operator, torch.float32, layout=layout, channels=16, size=(2, 4, 50), out=(2, 4, 40))
        still = torch.zeros(40)
        sample.tensors()[1].copy_(torch.stack([(2 * x + 1) / 50 - 1, still, torch.where(OUTSIDE, 1.6, 0.5)], -1))
        return sample
    options = {"ratio": None, "norm": "l2", "reduction": "none", "padding_mode": "zeros"}
    sample = samples.build(operator, torch.float32, layout=layout, size=(4, 40), **options)
    flow = sample.tensors()[2]
    flow[:, 0] = x - COLUMNS
    flow[:, 1] = torch.where(OUTSIDE, -1.5, -0.5) - torch.arange(4.0)[:, None]  # around the first row
    return sample


@SUMMATIONS
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("operator", ["masked_backwarp_loss", "volume_warp"])
def test_gradients_that_are_not_finite_reach_what_is_read(operator: str, layout: str, deterministic: bool) -> None:
    """Nothing is reached by a weight of zero, which pixels that are not read have."""
    sample = in_and_out(operator, layout)
    incoming = cotangents(evaluate(sample, "reference"))
    incoming[0][..., OUTSIDE | AT_THE_EDGE] = torch.nan
    expected = differentiate(sample.upcast(), "reference", wanted=[0], incoming=[i.double() for i in incoming])
    assert expected[0].isfinite().any()
    with summation(deterministic):
        got = differentiate(sample, "cuda", wanted=[0], incoming=incoming)
    assert_all_close(got, expected, [torch.float32], "gradient")


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


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_many_anchors(dtype: torch.dtype, layout: str) -> None:
    """Tiles get smaller with K; beyond the size of shared memory (140 doubles, 280 floats) they use scratch memory."""
    for anchors in (33, 64, 100, 140, 141, 280, 281, 300):
        size = (9, 15) if anchors < 300 else (9, 120)  # more tiles than a warp has lanes, to add up their sums
        sample = samples.build("affine_mixture", dtype, layout=layout, batch=2, anchors=anchors, size=size)
        check(sample, dtype, "cuda")
        got, expected = differentiate(sample, "cuda"), differentiate(sample.upcast(), "reference")
        assert_all_close(got, expected, [dtype] * len(got), f"{anchors} anchors: gradient")


def check_values_and_gradients(sample: Sample, dtype: torch.dtype) -> None:
    check(sample, dtype, "cuda")
    got, expected = differentiate(sample, "cuda"), differentiate(sample.upcast(), "reference")
    assert_all_close(got, expected, [gradient.dtype for gradient in got], f"{sample}: gradient")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_anchor_features_in_chunks(dtype: torch.dtype, layout: str) -> None:
    """More anchors than fit into shared memory at once; more channels than fit for one; a single row."""
    sizes: list[dict[str, Any]] = [
        {"anchors": 64, "size": (5, 9)},
        {"channels": 70, "size": (5, 9)},
        {"size": (1, 300), "margin": 1e-5},
        {"size": (65, 131), "anchors": 1, "margin": 1e-5},
        {"anchors": 40, "size": (2, 3, 5), "background": True, "covariances": True},
        {"channels": 70, "size": (2, 3, 5), "background": True},
    ]
    for size in sizes:
        check_values_and_gradients(samples.build("anchor_features", dtype, layout=layout, **size), dtype)


def test_the_deterministic_bound_in_chunks() -> None:
    """The largest value is past the pixels that all threads have looked at once."""
    shape = {"batch": 1, "channels": 1, "size": (512, 1040), "norm": "l2"}
    sample = samples.build("masked_backwarp_loss", torch.float32, margin=0, **shape)
    sample.tensors()[1][..., -1, -1] = 1e9
    with summation(deterministic=True):
        got = differentiate(sample, "cuda", wanted=[0])
    assert_all_close(got, differentiate(sample.upcast(), "reference", wanted=[0]), [torch.float32], "gradient")


def test_masked_backwarp_loss_in_chunks() -> None:
    """A block adds up the sums of more blocks than it has threads."""
    sample = samples.build("masked_backwarp_loss", torch.float32, batch=300, channels=1, size=(2, 2))
    check(sample, torch.float32, "cuda")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("anchors", [33, 97])
def test_soft_argmax_of_many_anchors(anchors: int, layout: str) -> None:
    """More than a block has columns for, with a map each, or one for all."""
    for maps in (0, 1, anchors):
        sample = samples.build(
            "soft_argmax", torch.float32, layout=layout, anchors=anchors, jacobian_maps=maps, size=(17, 12)
        )
        check_values_and_gradients(sample, torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_confidence_warp_in_chunks(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward pass in little memory takes one image after the other, with the bits of all at once."""
    sample = large("confidence_warp", torch.float32, layout)
    at_once = differentiate(sample, "cuda")
    monkeypatch.setenv("INTERNET_SCRATCH_MB", "0")
    assert_identical(differentiate(sample, "cuda"), at_once, "gradient")
    monkeypatch.setenv("INTERNET_SCRATCH_MB", "little")
    with pytest.raises(RuntimeError, match="INTERNET_SCRATCH_MB=little: expected a number of megabytes"):
        differentiate(sample, "cuda")


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


def spread(tensor: Tensor, axes: Sequence[int], reach: int) -> Tensor:
    """The same values, with at least so many elements from the first to the last along each of these axes."""
    dense = [axis for axis in range(-tensor.dim(), 0) if axis not in axes]
    strides = dict(zip(dense, torch.empty([tensor.shape[axis] for axis in dense]).stride(), strict=True))
    # no two elements in one place, though the axes reach equally far
    strides |= {axis: reach // (tensor.shape[axis] - 1) + 1 + 64 * place for place, axis in enumerate(axes)}
    by_axis = [strides[axis] for axis in range(-tensor.dim(), 0)]
    return torch.empty_strided(tensor.shape, by_axis, dtype=tensor.dtype, device=DEVICES["cuda"]).copy_(tensor)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "reach"),
    [((-3,), 2**31), ((-2,), 2**31), ((-1,), 2**31), ((-3, -2, -1), 2**30 - 4096)],
    ids=["third last", "rows", "columns", "all together"],
)
@pytest.mark.parametrize(
    ("operator", "size"),
    [
        ("flow_confidence", (4, 8)),
        ("soft_argmax", (4, 8)),
        ("anchor_features", (4, 8)),
        ("anchor_features", (2, 4, 8)),
        ("masked_backwarp_loss", (4, 8)),
    ],
)
def test_offsets_of_more_than_32_bits(operator: str, size: Size, axes: Sequence[int], reach: int) -> None:
    """One tensor after the other needs them, for all pixels of an image."""
    if not emulated.ASKED and torch.cuda.mem_get_info()[0] < 16 * 2**30:
        pytest.skip("less than 16 GiB of GPU memory are free")
    sample = samples.build(operator, torch.bfloat16, size=size)
    incoming = cotangents(evaluate(sample, "reference"))
    for place, tensor in enumerate(sample.tensors()):
        if tensor.shape[-len(size) :] != size or any(tensor.shape[axis] == 1 for axis in axes):
            continue
        tensors = sample.tensors()
        tensors[place] = spread(tensor, axes, reach)
        distant = sample.with_tensors(tensors)
        check(distant, torch.bfloat16, "cuda")
        if operator in DIFFERENTIABLE:
            got = differentiate(distant, "cuda", incoming=incoming)
            expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
            assert_all_close(got, expected, [gradient.dtype for gradient in got], f"{sample}, {place}: gradient")
