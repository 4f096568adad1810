"""`torch.library.opcheck` of the compiled operators, forward and backward, on the calls made by the samples."""

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import internet
from tests.support import samples
from tests.support.calls import calls_of
from tests.support.compare import COMPILED, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, OPERATORS, Sample

# The operators below torch.ops.internet have no autograd of their own (it is a torch.autograd.Function over
# them, checked in test_gradients), so the one check left out is of its registration.
CHECKS = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")


def selected(operator: str) -> list[Sample]:
    """opcheck takes about a second: only samples that differ in layout, dtype or which arguments are None."""
    notes = ("odd sizes", "l1, mean", "l2, none", "no confidence", "no mask", "no Jacobians", "no Jacobian map")
    every = samples.samples(operator, torch.float32)
    notes += ("blend", "interpolated", "interpolated, sizes of their own", "a confidence for some")
    chosen = [s for s in every if s.note in notes or s.note in ("empty batch", "empty batch, sum")]
    return [
        *chosen,
        samples.build(operator, torch.bfloat16, note="bfloat16, channels_last", layout="channels_last"),
        samples.build(operator, torch.float64, note="float64, strided", layout="strided"),
    ]


@pytest.mark.filterwarnings("ignore:.*graph break.*")
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_opcheck(operator: str, backend: str) -> None:
    device = require(backend, operator)
    with internet.ops.backend(backend):
        for sample in selected(operator):
            calls = calls_of(sample, device)
            assert [call[0].__name__.removesuffix(".default") for call in calls] in (
                [[operator, f"{operator}_backward"], [f"{operator}_with_gradients"]]
                if operator in DIFFERENTIABLE
                else [[operator]]
            )
            for function, arguments in calls:
                torch.library.opcheck(function, arguments, test_utils=CHECKS)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", OPERATORS)
def test_fakes_have_the_shape_dtype_and_strides_of_the_results(operator: str, backend: str) -> None:
    """On every sample, which would take too long with opcheck."""
    device = require(backend, operator)
    with internet.ops.backend(backend):
        for dtype in (torch.float32, torch.float16):
            for sample in samples.samples(operator, dtype):
                calls = calls_of(sample, device)
                assert calls
                for function, arguments in calls:
                    real = tensors_of(function(*arguments))
                    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
                        fake_arguments = pytree.tree_map_only(Tensor, mode.from_tensor, arguments)
                        fake = tensors_of(function(*fake_arguments))
                    for r, f in zip(real, fake, strict=True):
                        assert (r.shape, r.dtype) == (f.shape, f.dtype), f"{sample}: {function}"
                        assert r.numel() == 0 or r.stride() == f.stride(), f"{sample}: {function}"
