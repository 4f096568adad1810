"""`torch.func`: every transform works, with the reference, which is used automatically inside a transform.

A compiled backend that is requested by name raises an error.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import internet
from tests.support import samples
from tests.support.compare import COMPILED, assert_close, require, tensors_of
from tests.support.samples import DIFFERENTIABLE, Sample

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from within torch

# Their reference uses torch's grid_sample, which has no forward-mode derivative.
SAMPLING = ("confidence_warp", "pyramid_warp", "volume_warp", "masked_backwarp_loss", "anchor_features")


def loss_of(sample: Sample) -> Callable[..., Tensor]:
    """The sample's first result, squared and summed, as a function of its tensors."""
    return lambda *tensors: tensors_of(sample.with_tensors(tensors)())[0].square().sum()


def forward_derivative(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """By dual numbers, in the direction of all ones."""
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(tensor, torch.ones_like(tensor)) for tensor in tensors]
        return forward_ad.unpack_dual(function(*duals)).tangent


TRANSFORMS: dict[str, Callable[[Callable[..., Tensor], list[Tensor]], Any]] = {
    "grad": lambda function, tensors: torch.func.grad(function)(*tensors),
    "vjp": lambda function, tensors: torch.func.vjp(function, *tensors)[1](torch.ones((), dtype=torch.float64)),
    "vmap": lambda function, tensors: torch.func.vmap(function)(*(t[None] for t in tensors)),
    "jvp": lambda function, tensors: torch.func.jvp(function, tuple(tensors), tuple(map(torch.ones_like, tensors))),
    "forward_ad": lambda function, tensors: forward_derivative(function, *tensors),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_compiled_operators_refuse_clearly(operator: str, backend: str, transform: str) -> None:
    device = require(backend, operator)
    sample = samples.build(operator, torch.float64)
    tensors = [tensor.to(device) for tensor in sample.tensors()]
    ours = rf'{operator}: the {backend} backend does not support torch.func .* internet\.ops\.backend\("reference"\)'
    expected = "jvp function" if transform == "forward_ad" else ours
    with internet.ops.backend(backend), pytest.raises((RuntimeError, NotImplementedError), match=expected):
        TRANSFORMS[transform](loss_of(sample), tensors)


def chosen(backend: str | None) -> AbstractContextManager[None]:
    return nullcontext() if backend is None else internet.ops.backend(backend)


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_derivatives(operator: str, backend: str | None) -> None:
    sample = samples.build(operator, torch.float64)
    tensors = [tensor.requires_grad_() for tensor in sample.tensors()]
    places = tuple(range(len(tensors)))
    with chosen(backend):
        function = loss_of(sample)
        expected = torch.autograd.grad(function(*tensors), tensors, allow_unused=True)
        expected = [torch.zeros_like(t) if e is None else e for t, e in zip(tensors, expected, strict=True)]
        plain = [tensor.detach() for tensor in tensors]
        for got, wanted in zip(torch.func.grad(function, places)(*plain), expected, strict=True):
            assert_close(got, wanted, torch.float64)
        if operator in SAMPLING:
            with pytest.raises(NotImplementedError, match="forward AD with grid_sampler"):
                TRANSFORMS["jvp"](function, plain)
            return
        slope = torch.stack([gradient.sum() for gradient in expected]).sum()
        assert_close(TRANSFORMS["jvp"](function, plain)[1], slope, torch.float64)
        if backend == "reference":
            assert_close(forward_derivative(function, *plain), slope, torch.float64)


@pytest.mark.parametrize("backend", [None, "reference"])
def test_vmap_over_fields_that_move_one_channels_last_image(backend: str | None) -> None:
    image = torch.rand(1, 8, 6, 6).to(memory_format=torch.channels_last)
    fields = torch.rand(2, 1, 6, 6, 2)
    with chosen(backend):
        got = torch.func.vmap(lambda field: internet.ops.confidence_warp(image, field))(fields)
        for entry, field in enumerate(fields):
            assert_close(got[entry], internet.ops.confidence_warp(image, field), torch.float32)


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("operator", samples.OPERATORS)
def test_vmap(operator: str, backend: str | None) -> None:
    pair = [samples.build(operator, torch.float64, seed=seed) for seed in (1, 2)]
    stacked = [torch.stack(tensors) for tensors in zip(*(sample.tensors() for sample in pair), strict=True)]
    with chosen(backend):
        got = torch.func.vmap(lambda *tensors: tuple(tensors_of(pair[0].with_tensors(tensors)())))(*stacked)
        for entry, sample in enumerate(pair):
            for result, expected in zip(got, tensors_of(sample()), strict=True):
                assert_close(result[entry], expected, torch.float64)
