"""Every backend gives the values of the float64 reference: every operator, dtype and layout, and wild inputs."""

import pytest
import torch

from internet.ops.results import motion_dtype
from tests.support import samples
from tests.support.compare import BACKENDS, COMPILED, assert_all_close, evaluate, require
from tests.support.samples import DTYPES, OPERATORS, Sample

# The expected dtype of each operator's result: that of the data, or that of coordinates.
DATA_DTYPE = {"confidence_warp", "pyramid_warp", "volume_warp", "flow_confidence", "anchor_features"}


def cases(dtypes: tuple[torch.dtype, ...] = DTYPES) -> list[pytest.param]:
    """Operator, dtype and backend, except float64 on the reference, which would be compared with itself."""
    return [
        pytest.param(operator, dtype, backend, id=f"{operator}-{str(dtype)[6:]}-{backend}")
        for operator in OPERATORS
        for backend in BACKENDS
        for dtype in dtypes
        if (backend, dtype) != ("reference", torch.float64)
    ]


def check(sample: Sample, dtype: torch.dtype, backend: str) -> None:
    """One sample's values, and their dtypes and memory formats."""
    got, expected = evaluate(sample, backend), evaluate(sample.upcast(), "reference")
    widest = torch.promote_types(dtype, sample.tensors()[-1].dtype) if sample.note == "wider target" else dtype
    result_dtype = dtype if sample.operator in DATA_DTYPE else motion_dtype(widest)
    assert {g.dtype for g in got} <= {result_dtype}, str(sample)
    assert_all_close(got, expected, [result_dtype] * len(got), str(sample))


@pytest.mark.parametrize(("operator", "dtype", "backend"), cases())
def test_values(operator: str, dtype: torch.dtype, backend: str) -> None:
    require(backend, operator)
    for sample in samples.samples(operator, dtype):
        check(sample, dtype, backend)


@pytest.mark.parametrize(("operator", "dtype", "backend"), cases())
def test_values_of_wild_inputs(operator: str, dtype: torch.dtype, backend: str) -> None:
    require(backend, operator)
    for sample in samples.samples(operator, dtype, wild=True):
        check(sample, dtype, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", ["confidence_warp", "anchor_features", "pyramid_warp", "volume_warp"])
def test_output_follows_the_memory_format_of_the_features(operator: str, backend: str) -> None:
    require(backend, operator)
    for layout in samples.LAYOUTS:
        sample = samples.build(operator, torch.float32, layout=layout)
        results = evaluate(sample, backend)
        for result in results:
            last = torch.channels_last if result.dim() == 4 else torch.channels_last_3d
            format_ = last if layout in ("channels_last", "offset channels_last") else torch.contiguous_format
            assert result.is_contiguous(memory_format=format_), f"{sample} of {layout}"


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_inputs_are_left_alone(operator: str, backend: str) -> None:
    require(backend, operator)
    for sample in samples.samples(operator, torch.float32):
        before = [tensor.clone() for tensor in sample.tensors()]
        evaluate(sample, backend)
        for tensor, copy in zip(sample.tensors(), before, strict=True):
            assert torch.equal(tensor, copy), str(sample)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_results_outlive_later_calls(operator: str, backend: str) -> None:
    """The memory of a result is not reused while any part of it is still referenced."""
    require(backend, operator)
    several = [
        samples.samples(operator, torch.float32)[0],
        *samples.large_samples(operator, torch.float32, "contiguous"),
    ]
    for sample in several:
        results = evaluate(sample, backend)
        held = [result.flatten()[-5:] for result in results]
        copies = [part.clone() for part in held]
        del results
        others = [evaluate(sample.map(lambda tensor: tensor.roll(1, 0)), backend) for _ in range(4)]
        for part, copy in zip(held, copies, strict=True):
            assert torch.equal(part, copy), str(sample)
        starts = [result.data_ptr() for other in others for result in other]
        assert len(set(starts)) == len(starts), f"{sample}: two results in one place"
