"""Every backend's first-order gradients equal those of the float64 reference, for exactly the requested inputs."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import internet
from tests.ops.test_values import cases
from tests.support import samples
from tests.support.compare import (
    ADDED_IN_ANY_ORDER,
    COMPILED,
    DEVICES,
    assert_all_close,
    cotangents,
    differentiate,
    evaluate,
    require,
    tensors_of,
)
from tests.support.samples import DIFFERENTIABLE

GRADIENT_CASES = [case for case in cases() if case.values[0] in DIFFERENTIABLE]


@pytest.mark.parametrize(("operator", "dtype", "backend"), GRADIENT_CASES)
def test_gradients(operator: str, dtype: torch.dtype, backend: str) -> None:
    require(backend, operator)
    for sample in samples.samples(operator, dtype):
        incoming = cotangents(evaluate(sample, "reference"))
        got = differentiate(sample, backend, incoming=incoming)
        expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
        assert [g.dtype for g in got] == [t.dtype for t in sample.tensors()]
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


AT_A_KINK = ("no motion", "at the frame's edge", "equal frames", "bfloat16")  # either one-sided derivative is correct
INFINITE = ("infinite features", "infinite in", "no heat")  # whose arithmetic is unspecified


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_gradients_of_wild_inputs(operator: str, backend: str, dtype: torch.dtype) -> None:
    require(backend, operator)
    for sample in samples.samples(operator, dtype, wild=True):
        if sample.note.startswith((*AT_A_KINK, *INFINITE)):
            continue
        got, expected = differentiate(sample, backend), differentiate(sample.upcast(), "reference")
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_an_incoming_gradient_of_nan(operator: str, backend: str) -> None:
    """It reaches everything that depends on it, and nothing else."""
    require(backend, operator)
    for sample in samples.samples(operator, torch.float64):
        incoming = cotangents(evaluate(sample, "reference"))
        for gradient in incoming:
            if gradient.numel():
                gradient[(-1,) * gradient.dim()] = torch.nan
        got, expected = (differentiate(sample, name, incoming=incoming) for name in (backend, "reference"))
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_gradcheck(operator: str, backend: str) -> None:
    device = require(backend, operator)
    for sample in samples.samples(operator, torch.float64):
        if any(tensor.numel() == 0 for tensor in sample.tensors()) or "expanded" in sample.note:
            continue  # nothing to perturb, or elements that cannot be perturbed one by one
        leaves = [tensor.detach().to(device).requires_grad_() for tensor in sample.tensors()]
        with internet.ops.backend(backend):
            torch.autograd.gradcheck(
                lambda *tensors, s=sample: tuple(tensors_of(s.with_tensors(tensors)())),
                leaves,
                fast_mode=True,
                nondet_tol=1e-12 if operator in ADDED_IN_ANY_ORDER.get(backend, ()) else 0.0,
            )


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_gradients_of_some_inputs_only(operator: str, backend: str) -> None:
    """Each subset of the inputs gets exactly the same gradients as when all are requested."""
    require(backend, operator)
    sample = samples.build(operator, torch.float64)
    everything = differentiate(sample, backend)
    places = range(len(sample.tensors()))
    for count in places:
        for wanted in itertools.combinations(places, count + 1):
            got = differentiate(sample, backend, wanted)
            expected = [everything[place] for place in wanted]
            assert_all_close(got, expected, [torch.float64] * len(got), f"{sample}, inputs {wanted}: gradient")


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_no_graph_when_nothing_asks(operator: str, backend: str) -> None:
    device = require(backend, operator)
    with internet.ops.backend(backend):
        sample = samples.build(operator, torch.float32).map(lambda tensor: tensor.to(device))
        assert not any(result.requires_grad for result in tensors_of(sample()))
        tracked = sample.map(lambda tensor: tensor.clone().requires_grad_())
        assert all(result.requires_grad for result in tensors_of(tracked()))
        with torch.no_grad():
            assert not any(result.requires_grad for result in tensors_of(tracked()))


INCOMING: dict[str, Callable[[Tensor], Tensor]] = {
    "of .sum()": lambda result: torch.ones((), dtype=result.dtype).expand_as(result),
    "transposed": lambda result: result.transpose(0, -1).contiguous().transpose(0, -1) if result.dim() else result,
    "strided": lambda result: torch.stack([result, torch.full_like(result, torch.nan)], -1)[..., 0],
    "channels_last": lambda result: (
        result.contiguous(memory_format=torch.channels_last) if result.dim() == 4 else result
    ),
    "sliced channels_last": lambda result: (
        samples.LAYOUTS["sliced channels_last"](result) if result.dim() in (4, 5) else result
    ),
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("incoming", INCOMING)
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_incoming_gradients_of_any_strides(operator: str, backend: str, incoming: str, layout: str) -> None:
    require(backend, operator)
    chosen: dict[str, dict[str, Any]] = {
        "confidence_warp": {"channels": 16},
        "volume_warp": {"channels": 16},
        "masked_backwarp_loss": {"reduction": "none"},
    }
    sample = samples.build(operator, torch.float64, layout=layout, **chosen.get(operator, {}))
    gradients = [INCOMING[incoming](g) for g in cotangents(evaluate(sample, "reference"))]
    got = differentiate(sample, backend, incoming=gradients)
    expected = differentiate(sample, "reference", incoming=gradients)
    assert_all_close(got, expected, [torch.float64] * len(got), f"{sample}, {incoming}: gradient")


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("operator", ["upsample_motion", "soft_argmax", "pyramid_warp"])
def test_one_of_several_results_used(operator: str, place: int, backend: str) -> None:
    require(backend, operator)
    sample = samples.build(operator, torch.float64)
    found = {}
    for name in (backend, "reference"):
        leaves = [tensor.detach().to(DEVICES[name]).requires_grad_() for tensor in sample.tensors()]
        with internet.ops.backend(name):
            result = tensors_of(sample.with_tensors(leaves)())[place]
        gradients = torch.autograd.grad(result.square().sum(), leaves, allow_unused=True)
        found[name] = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
    assert_all_close(found[backend], found["reference"], [torch.float64] * len(found[backend]), f"{sample}: gradient")


@pytest.mark.parametrize("mode", ["zeros", "border"])
@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_coordinates_out_of_the_world_get_no_gradient(value: float, backend: str, mode: str) -> None:
    """Gradients stay finite, and inputs that have no effect in a neighbourhood have none."""
    require(backend, "confidence_warp")
    sample = samples.build("confidence_warp", torch.float32, padding_mode=mode)
    field = sample.args[1].clone()
    field[:, 1] = value
    features, motion, confidence = differentiate(sample.with_tensors([sample.args[0], field, sample.args[2]]), backend)
    assert (motion[:, 1] == 0).all()
    assert all(gradient.isfinite().all() for gradient in (features, motion, confidence))


@pytest.mark.parametrize("backend", ["reference", *COMPILED])
@pytest.mark.parametrize("size", [(4, 5), (2, 3, 4)], ids=["image", "volume"])
def test_a_background_that_divides_by_zero(size: tuple[int, ...], backend: str) -> None:
    """`anchor_features` reads nothing there and has no gradient, even where torch's quotient gives 0 times NaN."""
    device = "cpu" if backend == "reference" else require(backend, "anchor_features")
    sample = samples.build("anchor_features", torch.float64, size=size, anchors=1, background=True)
    axes = len(size)
    background = torch.zeros(2, axes + 1, axes + 1, dtype=torch.float64, device=device)
    source, *points = (tensor.to(device).requires_grad_() for tensor in sample.args)
    with internet.ops.backend(backend):
        features = internet.ops.anchor_features(source, *points, background=background.requires_grad_())
    assert not features[:, :4].any()
    gradients = torch.autograd.grad(features.sum(), [source, *points, background])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[-1].any()
