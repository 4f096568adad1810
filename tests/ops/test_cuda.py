"""The CUDA kernels against the reference, where they take many blocks, chunks or wide offsets: `pytest -m gpu`.

The tests of values, gradients and the rest run on the backend "cuda" too wherever it is ready. Those here need no GPU:
they run on the emulation as well. test_cuda_device.py has those that do.
"""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from internet.ops import reference
from tests import emulated
from tests.ops.test_values import check
from tests.support import samples
from tests.support.compare import DEVICES, assert_identical, cotangents, differentiate, evaluate
from tests.support.many_tiles import (
    LAYOUTS,
    ON_CUDA,
    OPERATORS,
    SCATTERED,
    SUMMATIONS,
    check_gradients,
    large,
    summation,
)
from tests.support.samples import DIFFERENTIABLE, DTYPES, Sample
from tests.support.samples.sample import Size

RUNS = 3 if emulated.ASKED else 6
"""Of one step, whose bits are compared: the emulation's order is another one every time, a GPU's need not be."""

pytestmark = ON_CUDA


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


def results_and_gradients(sample: Sample) -> list[Tensor]:
    gradients = differentiate(sample, "cuda") if sample.operator in DIFFERENTIABLE else []
    return [*evaluate(sample, "cuda"), *gradients]


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
        check_gradients(sample, deterministic=deterministic, incoming=cotangents(evaluate(sample, "reference")))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_same_bits_every_time(operator: str, dtype: torch.dtype, layout: str) -> None:
    """With deterministic algorithms; also without them, except for scattered gradients."""
    sample = large(operator, dtype, layout)
    scattered = {len(evaluate(sample, "cuda"))} if operator in SCATTERED else set()
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
    first = check_gradients(sample)
    for _ in range(RUNS - 1):
        assert_identical(differentiate(sample, "cuda"), first, f"{sample}, {layout}: gradient")


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
    (gradient,) = check_gradients(sample, deterministic=True, wanted=[0], incoming=incoming)
    assert gradient.isfinite().any()


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
    (gradient,) = check_gradients(sample, deterministic=deterministic, wanted=[0], incoming=incoming)
    assert gradient.isfinite().any()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_many_anchors(dtype: torch.dtype, layout: str) -> None:
    """Tiles get smaller with K; beyond the size of shared memory (140 doubles, 280 floats) they use scratch memory."""
    for anchors in (33, 64, 100, 140, 141, 280, 281, 300):
        size = (9, 15) if anchors < 300 else (9, 120)  # more tiles than a warp has lanes, to add up their sums
        sample = samples.build("affine_mixture", dtype, layout=layout, batch=2, anchors=anchors, size=size)
        check(sample, dtype, "cuda")
        check_gradients(sample)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(6, 16), (2, 3, 16)], ids=["image", "volume"])
@pytest.mark.parametrize("anchors", [3, 10])
def test_affine_mixture_of_whole_vectors(anchors: int, size: Size, dtype: torch.dtype, layout: str) -> None:
    """Logits that are loaded in vectors, also those whose largest must be subtracted; pixels that are padded."""
    for options in ({}, {"jacobians": False}, {"jacobians": False, "threshold": 0.02}, {"background": True}):
        sample = samples.build("affine_mixture", dtype, layout=layout, anchors=anchors, size=size, **options)
        for scale in (1, 100):
            tensors = sample.tensors()
            tensors[0] = (scale * tensors[0]).detach()
            scaled = sample.with_tensors(tensors)
            check(scaled, dtype, "cuda")
            check_gradients(scaled)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(5, 16), (2, 3, 16)], ids=["image", "volume"])
def test_soft_argmax_of_whole_runs(size: Size, dtype: torch.dtype, layout: str) -> None:
    """Rows that are whole runs of pixels."""
    for maps in (0, 1, 3):
        sample = samples.build("soft_argmax", dtype, layout=layout, anchors=3, jacobian_maps=maps, size=size)
        check(sample, dtype, "cuda")
        check_gradients(sample)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("gap", "shift"), [(1, 0), (0, 1)], ids=["padded rows", "off alignment"])
@pytest.mark.parametrize("operator", ["affine_mixture", "soft_argmax"])
def test_whole_rows_that_no_vector_may_load(operator: str, gap: int, shift: int, dtype: torch.dtype) -> None:
    sample = samples.build(operator, dtype, anchors=3, size=(6, 16))
    tensors = sample.tensors()
    *rows, width = tensors[0].shape
    memory = torch.zeros(shift + math.prod(rows) * (width + gap), dtype=dtype)
    tensors[0] = memory[shift:].view(*rows, width + gap)[..., :width].copy_(tensors[0])
    displaced = sample.with_tensors(tensors)
    check(displaced, dtype, "cuda")
    check_gradients(displaced)


def test_soft_argmax_of_more_tiles_than_a_warp_has_lanes() -> None:
    shape = {
        "batch": 1,
        "anchors": 33,
        "size": (2200, 1),
    }  # in channels_last, a tile is 64 runs, and no run leaves its row
    sample = samples.build("soft_argmax", torch.float32, layout="channels_last", covariance=True, **shape)
    check(sample, torch.float32, "cuda")
    check_gradients(sample)


def test_a_mask_that_is_coarser_than_a_warp_is_wide() -> None:
    sample = samples.build("masked_backwarp_loss", torch.float32, batch=1, size=(64, 128), ratio=64)
    check(sample, torch.float32, "cuda")
    check_gradients(sample)


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
        sample = samples.build("anchor_features", dtype, layout=layout, **size)
        check(sample, dtype, "cuda")
        check_gradients(sample)


def test_the_deterministic_bound_in_chunks() -> None:
    """The largest value is past the pixels that all threads have looked at once."""
    shape = {"batch": 1, "channels": 1, "size": (512, 1040), "norm": "l2"}
    sample = samples.build("masked_backwarp_loss", torch.float32, margin=0, **shape)
    sample.tensors()[1][..., -1, -1] = 1e9
    check_gradients(sample, deterministic=True, wanted=[0])


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
        check(sample, torch.float32, "cuda")
        check_gradients(sample)


def test_soft_argmax_of_more_pixels_than_32_bits_count() -> None:
    logits = torch.zeros(1, 1, 1, 1, device=DEVICES["cuda"]).expand(-1, -1, 2**15, 2**15 + 1)
    with (
        internet.ops.backend("cuda"),
        pytest.raises(RuntimeError, match="logits: expected at most 1073741824 pixels in a heat map, got 1073774592"),
    ):
        internet.ops.soft_argmax(logits)


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
            check_gradients(distant, incoming=incoming)
