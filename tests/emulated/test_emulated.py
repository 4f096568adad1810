"""The operators' tests on the emulated CUDA kernels: values, gradients, repeatability, chunks, extreme and random
inputs.

In processes of their own, which tests/conftest.py gives the emulation; nothing may be skipped for lack of a backend.
Their memory is guarded (tests/support/guarded_memory.py): an access outside of a tensor ends the process, and what is
read before it is written is NaN.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from internet.ops import OPERATORS
from tests import emulated
from tests.emulated.build import build, compiler
from tests.support.evaluate import ROOT, environment_of
from tests.support.guarded_memory import guard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(compiler() is None, reason="no g++"),
    pytest.mark.skipif(bool(emulated.ASKED), reason="this process has the emulation"),
]


def run(folder: Path, fence: str, *selection: str) -> None:
    changes = {emulated.VARIABLE: "900", "INTERNET_BACKEND": "", **guard(folder, fence, alignment=32)}
    environment = environment_of(changes)
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{' '.join(selection)}:\n{done.stdout}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


@pytest.mark.parametrize("file", ["tests/ops/test_values.py", "tests/ops/test_gradients.py"])
def test_values_and_gradients(file: str, tmp_path: Path) -> None:
    run(tmp_path, "after", file, "-k", "cuda")


def test_nothing_before_a_tensor_is_touched(tmp_path: Path) -> None:
    """In one dtype: where a tensor begins, all types' kernels compute alike."""
    run(tmp_path, "before", "tests/ops/test_values.py", "tests/ops/test_gradients.py", "-k", "cuda and float32")


@pytest.mark.parametrize("fence", ["after", "before"])
def test_random_inputs(fence: str, tmp_path: Path) -> None:
    run(tmp_path, fence, "tests/emulated/test_fuzz.py")


def test_results_lie_as_their_fakes_do(tmp_path: Path) -> None:
    run(tmp_path, "after", "tests/ops/test_opcheck.py", "-k", "fakes and cuda")


def test_many_tiles(tmp_path: Path) -> None:
    run(tmp_path, "before", "tests/ops/test_cuda.py", "-k", emulated.ONCE)  # so that tensors are aligned for vectors


def test_no_source_tells_architectures_apart() -> None:
    """Those that do need an emulation of each: `ARCHITECTURES`, and another run of the tests above."""
    sources = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cu", ".cuh", ".h", ".cpp")]
    assert not [path for path in sources if "__CUDA_ARCH__" in path.read_text(encoding="utf-8")]


def test_the_gpu_report_runs_to_its_end(tmp_path: Path) -> None:
    """All of its steps, with the emulation as GPU, and each call once."""
    until = str(time.time() + 900)
    tests = "tests/ops/test_values.py -k upsample_motion -n 0"
    options = ["--out", str(tmp_path), "--device", "cpu", "--no-compile", "--until", until, "--tests", tests]
    environment = environment_of({emulated.VARIABLE: "900", "INTERNET_BACKEND": ""})
    command = [sys.executable, "-m", "tests.emulated.dry_run", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["finished"]
    assert report["backends"] == ["cuda"]
    assert report["left_out"] == report["pending"] == []
    sections = report["sections"]
    assert "errors" not in sections
    (tests_of_gpu,) = sections["tests"]
    assert tests_of_gpu["passed"] > 0 == tests_of_gpu["failed"]
    assert {row["operator"] for row in sections["speed"]} == set(OPERATORS)
    assert all("cuda" in measured["samples"] for row in sections["speed"] for measured in row["passes"].values())
    assert {row["operator"] for row in sections["small"]} == set(OPERATORS)
    assert "cuda" in sections["end to end"][0]["passes"]["training step"]["samples"]
