"""One wheel serves every torch from 2.10: the wheel built here, in a second environment with another torch.

`make test-abi` runs this. The environment is .venv-abi, kept from run to run; making it downloads torch, on Linux
with all of CUDA: some gigabytes. INTERNET_ABI_TORCH is what pip installs there, INTERNET_ABI_PYTHON the Python.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ENVIRONMENT = ROOT / ".venv-abi"
SUITE = ("tests/ops/test_values.py", "tests/ops/test_gradients.py")  # every operator and dtype, the reference beside
PYTHON = ENVIRONMENT / "bin/python"
TORCH = os.environ.get("INTERNET_ABI_TORCH", "torch==2.10.0")

UNREGISTERED = """
import importlib.util
import torch
from internet.ops import OPERATORS
from internet.ops._status import devices_with_kernel
has_cuda = torch.version.cuda and importlib.util.find_spec("internet._C_cuda")
kinds = {"cpu", "cuda"} if has_cuda else {"cpu"}
print(*(name for name in OPERATORS if not kinds <= devices_with_kernel(name)))
"""
"""Prints the operators without a CPU kernel, or, where torch and the wheel have CUDA, without a CUDA kernel; no GPU is
needed. A wheel that was built without nvcc has none."""

pytestmark = pytest.mark.abi


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)


def pip(python: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(python, "-m", "pip", "--disable-pip-version-check", *arguments)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]


@pytest.fixture(scope="module")
def other_torch() -> str:
    """The version of torch in the second environment, which is created if necessary; skips if that is impossible."""
    python = os.environ.get("INTERNET_ABI_PYTHON") or sys.executable
    steps = [
        lambda: run(python, "-m", "venv", ENVIRONMENT) if not PYTHON.exists() else run(PYTHON, "--version"),
        lambda: pip(PYTHON, "install", TORCH, "numpy", "pytest"),
        lambda: run(PYTHON, "-c", "import torch; print(torch.__version__)"),
    ]
    for step in steps:
        done = step()
        if done.returncode:
            pytest.skip(f"{TORCH} cannot be had with {python}: {last_line(done)}")
    return done.stdout.strip()


def test_the_wheel_runs_on_another_torch(other_torch: str, tmp_path: Path) -> None:
    built = pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = pip(PYTHON, "install", "--no-deps", "--force-reinstall", wheel)
    assert installed.returncode == 0, installed.stderr
    # The tests leave the checkout, where `import internet` would find the source and not the wheel.
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    info = run(PYTHON, "-m", "internet", "info", cwd=tmp_path)
    print(info.stdout)
    assert re.search(rf"^  torch +{re.escape(other_torch)}$", info.stdout, re.MULTILINE), info.stderr
    assert re.search(r"^  cpu +ready", info.stdout, re.MULTILINE), info.stdout
    unregistered = run(PYTHON, "-c", UNREGISTERED, cwd=tmp_path)
    assert (unregistered.returncode, unregistered.stdout.strip()) == (0, ""), unregistered.stdout + unregistered.stderr
    tests = run(PYTHON, "-m", "pytest", "-q", "-k", "cpu", *SUITE, cwd=tmp_path)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    print(last_line(tests))
    assert "passed" in tests.stdout
