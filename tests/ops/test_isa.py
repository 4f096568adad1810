"""The CPU kernels of every instruction set that this machine supports: all are compiled, one is selected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

import internet
from internet.utils import library
from internet.utils.library import INSTRUCTION_SETS
from tests.support.compare import assert_close, cotangents, differentiate, evaluate
from tests.support.evaluate import ROOT, each_sample, in_another_process
from tests.support.samples import DIFFERENTIABLE

pytestmark = pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason=internet.ops.backends()["cpu"].reason)


def ask(isa: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process reports as its instruction set if this one is requested."""
    command = [sys.executable, "-c", "from internet.utils import library; print(library.cpu_isa())"]
    environment = {**os.environ, "INTERNET_CPU_ISA": isa}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def require_isa(isa: str) -> None:
    done = ask(isa)
    if done.returncode:
        assert "this machine offers" in done.stderr
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout.strip() == isa


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Tensor]]:
    """The float64 reference's results and gradients, by the names of the samples."""
    found = {}
    for name, sample in each_sample():
        incoming = [gradient.double() for gradient in cotangents(evaluate(sample, "reference"))]
        found[name] = evaluate(sample.upcast(), "reference")
        if sample.operator in DIFFERENTIABLE:
            found[name] += differentiate(sample.upcast(), "reference", incoming=incoming)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_values_and_gradients(isa: str, tmp_path: Path, expected: dict[str, list[Tensor]]) -> None:
    require_isa(isa)
    written = in_another_process(tmp_path / "results.pt", {"INTERNET_CPU_ISA": isa})
    assert written["isa"] == isa
    assert written["found"].keys() > expected.keys()
    for name, wanted in expected.items():
        for got, tensor in zip(written["found"][name], wanted, strict=True):
            assert_close(got, tensor, got.dtype, f"{isa}: {name}")


def test_the_best_is_chosen_by_itself() -> None:
    chosen = library.cpu_isa()
    assert chosen in INSTRUCTION_SETS
    if "INTERNET_CPU_ISA" not in os.environ:
        better = INSTRUCTION_SETS[INSTRUCTION_SETS.index(chosen) + 1 :]
        assert all("this machine offers" in ask(isa).stderr for isa in better)


@pytest.mark.parametrize("isa", ["neon", "AVX2"])
def test_unknown_names_are_refused(isa: str) -> None:
    done = ask(isa)
    assert done.returncode != 0
    assert f"INTERNET_CPU_ISA={isa}: expected baseline, avx2 or avx512" in done.stderr


def test_an_operator_refuses_them_too() -> None:
    command = [
        sys.executable,
        "-c",
        "import torch, internet.ops as o; p = torch.zeros(1, 1, 2); o.affine_mixture(torch.zeros(1, 2, 3, 4), p, p)",
    ]
    environment = {**os.environ, "INTERNET_CPU_ISA": "mmx", "INTERNET_BACKEND": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "INTERNET_CPU_ISA=mmx: expected baseline, avx2 or avx512" in done.stderr
