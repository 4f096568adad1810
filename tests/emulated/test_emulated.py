"""The operators' tests on the emulated CUDA kernels: values, gradients, repeatability, chunks, wild and random inputs.

In processes of their own, which tests/conftest.py gives the emulation; nothing may be skipped for lack of a backend.
"""

import subprocess
import sys

import pytest

from tests import emulated
from tests.emulated.build import ARCHITECTURES, build, compiler
from tests.support.evaluate import ROOT, environment_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
    pytest.mark.skipif(bool(emulated.ASKED), reason="this process has the emulation"),
]

PORTABLE = "not_finite or in_chunks or have_their_layout or same_bits"
"""What test_cuda.py has that needs no GPU, beside values and gradients of many tiles."""
SCATTERS = "gradients_are and float32 and (confidence_warp or masked_backwarp_loss or anchor_features)"


def run(architecture: int, *selection: str) -> None:
    environment = environment_of({emulated.VARIABLE: str(architecture), "INTERNET_BACKEND": ""})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{' '.join(selection)}:\n{done.stdout}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    for architecture in ARCHITECTURES:
        build(architecture)


@pytest.mark.parametrize("file", ["tests/ops/test_values.py", "tests/ops/test_gradients.py"])
def test_values_and_gradients(file: str) -> None:
    run(900, file, "-k", "cuda")


def test_random_inputs() -> None:
    run(900, "tests/emulated/test_fuzz.py")


def test_many_tiles() -> None:
    run(900, "tests/ops/test_cuda.py", "-k", f"({PORTABLE} or gradients_are) and not (float64 or float16)")


def test_what_is_written_otherwise_before_sm_90() -> None:
    run(800, "tests/ops/test_cuda.py", "-k", SCATTERS)
