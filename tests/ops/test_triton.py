"""The Triton kernels: interpreted on CPU tensors, compiled for absent GPUs, and run on a GPU if there is one."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import internet
from tests.ops.test_values import check
from tests.support import samples
from tests.support.compare import INTERPRETED, assert_all_close, assert_identical, cotangents, differentiate, evaluate
from tests.support.compare import tensors_of as tensors
from tests.support.evaluate import ROOT, environment_of
from tests.support.samples import DIFFERENTIABLE, DTYPES, OPERATORS, Sample

STATUS = internet.ops.backends()["triton"]
MISSING = next((name for name in ("triton", "internet.kernels") if importlib.util.find_spec(name) is None), None)
needs_triton = pytest.mark.skipif(MISSING is not None, reason=f"{MISSING} is not installed")
needs_gpu = pytest.mark.skipif(not STATUS.ready or INTERPRETED, reason=f"backend triton: {STATUS.reason}")

TARGETS = {"sm_90": ("cuda", "90", "32"), "gfx942": ("hip", "gfx942", "64")}


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment_of(environment),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("words", ["warp", "not warp"])
def test_in_the_interpreter(words: str) -> None:
    """Values, gradients, graphs and schemas: the tests of test_triton_interpreted.py, none of them skipped."""
    file = "tests/ops/test_triton_interpreted.py"
    said = run("pytest", file, "-q", "-k", words, TRITON_INTERPRET="1", INTERNET_BACKEND="")
    assert "passed" in said
    assert "skipped" not in said


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_kernel_spills(target: str, tmp_path: Path) -> None:
    """At the shapes of the paper; nor does any come close to the limit of registers per thread."""
    run("tests.support.compile_triton", str(tmp_path / "found.json"), *TARGETS[target], TRITON_INTERPRET="0")
    found = json.loads((tmp_path / "found.json").read_text())
    operators = {next(operator for operator in OPERATORS if name.startswith(operator)) for name in found}
    assert operators == set(OPERATORS) - {"pyramid_warp"}  # launches confidence_warp's
    assert not {name: used for name, used in found.items() if used["spills"]}
    assert not {name: used for name, used in found.items() if not 0 < used["registers"] <= 200}


def test_the_folder_is_not_a_package_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", "import kernels"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: this folder is installed as internet.kernels" in done.stderr


def test_without_triton(tmp_path: Path) -> None:
    """Everything but the backend works, and `info` says why the backend does not."""
    (tmp_path / "triton.py").write_text("raise ModuleNotFoundError('No module named triton', name='triton')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    said = run("internet", "info", PYTHONPATH=path)
    if MISSING != "internet.kernels":
        assert "not available: the Python package 'triton' is not installed" in said
    code = "from internet.ops import *; import torch; upsample_motion(torch.zeros(1, 2, 2, 2)); backend('triton')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment_of({"PYTHONPATH": path}), capture_output=True, text=True
    )
    assert "RuntimeError: backend: 'triton' is not available: the Python package" in done.stderr


# --------------------------------------------------------------------------------------------- on a GPU


def step(sample: Sample) -> tuple[list[Tensor], Callable[[], list[Tensor]]]:
    """Leaves on the GPU, and a forward and backward pass over them."""
    leaves = [tensor.detach().cuda().requires_grad_(sample.operator in DIFFERENTIABLE) for tensor in sample.tensors()]
    incoming = [gradient.cuda() for gradient in cotangents(evaluate(sample, "triton"))]

    def run() -> list[Tensor]:
        with internet.ops.backend("triton"):
            results = tensors(sample.with_tensors(leaves)())
        if sample.operator not in DIFFERENTIABLE:
            return results
        return [*(r.detach() for r in results), *torch.autograd.grad(results, leaves, incoming)]

    return leaves, run


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("wild", [False, True], ids=["tame", "wild"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_sample_is_the_reference(operator: str, dtype: torch.dtype, wild: bool) -> None:
    for sample in samples.samples(operator, dtype, wild=wild):
        check(sample, dtype, "triton")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_gradients_are_the_references(operator: str, dtype: torch.dtype, layout: str) -> None:
    for sample in [*samples.samples(operator, dtype), *samples.large_samples(operator, dtype, layout)]:
        incoming = cotangents(evaluate(sample, "reference"))
        got = differentiate(sample, "triton", incoming=incoming)
        expected = differentiate(sample.upcast(), "reference", incoming=[i.double() for i in incoming])
        assert_all_close(got, expected, [g.dtype for g in got], f"{sample}: gradient")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("operator", ["affine_mixture", "upsample_motion", "flow_confidence", "soft_argmax"])
def test_the_same_bits_every_time(operator: str) -> None:
    sample = samples.large_samples(operator, torch.float32, "contiguous")[0]
    _, run = step(sample)
    expected = run()
    for _ in range(5):
        assert_identical(run(), expected, str(sample))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_graph_captures_forward_and_backward(operator: str) -> None:
    first = samples.large_samples(operator, torch.float32, "contiguous")[0]
    leaves, run = step(first)
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        run()  # compiles and tunes
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    with torch.no_grad():
        for leaf, value in zip(leaves, first.map(lambda tensor: tensor.flip(0)).tensors(), strict=True):
            leaf.copy_(value)
    graph.replay()
    torch.cuda.synchronize()
    assert_all_close(captured, run(), [torch.float32] * len(captured), operator)


@pytest.mark.gpu
@needs_gpu
def test_tuning_while_a_graph_is_captured_is_refused() -> None:
    """It would break the capture without saying why."""
    from internet.kernels.launch import _measure

    with (
        torch.cuda.graph(torch.cuda.CUDAGraph()),
        pytest.raises(RuntimeError, match="run the step once, on these shapes, before the capture"),
    ):
        _measure(lambda: None, (0.5, 0.2, 0.8))
