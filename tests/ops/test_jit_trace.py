"""`torch.jit.trace`: by default it records the reference with gradients; a requested backend without them."""

import io
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import internet
from tests.support import samples
from tests.support.compare import assert_all_close, tensors_of
from tests.support.samples import DIFFERENTIABLE, OPERATORS, Sample

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # pytest resets the filter of internet.ops
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]


def function_of(sample: Sample) -> Callable[..., tuple[Tensor, ...]]:
    return lambda *tensors: tuple(tensors_of(sample.with_tensors(tensors)()))


def saved_and_loaded(traced: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_gradients(operator: str) -> None:
    sample = samples.build(operator, torch.float64)
    function = function_of(sample)
    leaves = [tensor.requires_grad_() for tensor in sample.tensors()]
    traced = saved_and_loaded(torch.jit.trace(function, tuple(leaves)))
    found = []
    for call in (traced, function):
        results = tensors_of(call(*leaves))
        gradients = torch.autograd.grad([result.square().sum() for result in results], leaves)
        found.append([*(result.detach() for result in results), *gradients])
    assert_all_close(*found, [torch.float64] * len(found[0]))


@pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason="needs the CPU library")
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_compiled_backend_that_is_asked_for(operator: str) -> None:
    sample = samples.build(operator, torch.float32)
    function = function_of(sample)
    tensors = [tensor.requires_grad_() for tensor in sample.tensors()]
    with internet.ops.backend("cpu"):
        traced = saved_and_loaded(torch.jit.trace(function, tuple(tensors)))
        expected = tensors_of(function(*tensors))
    assert f"internet::{operator}" in str(traced.graph)
    assert_all_close(tensors_of(traced(*tensors)), expected, [torch.float32] * len(expected))


def test_a_trace_is_quiet() -> None:
    """No warnings for the operators' shape checks, but one for each of the caller's own."""
    code = (
        "import torch; from internet import ops\n"
        "def call(field, source):\n"
        "    if field.shape[1] > 1: field, _ = ops.upsample_motion(field)\n"
        "    return ops.confidence_warp(source, field)\n"
        "torch.jit.trace(call, (torch.zeros(1, 4, 4, 2), torch.zeros(1, 3, 16, 16)), check_trace=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    warned = [line for line in done.stderr.splitlines() if "TracerWarning" in line]
    assert len(warned) == 1
    assert "<string>:3: TracerWarning" in warned[0]
