"""Kernels read only their inputs and what they have written, and write only their outputs.

In a process whose allocator fills fresh memory with NaN and fences each tensor (guarded_memory.cpp), every
sample gives bit for bit what it gives in an ordinary one. `torch.utils.deterministic.fill_uninitialized_memory`
would not do: it does not reach tensors that C++ allocates. What the kernels take from malloc is filled by
glibc's MALLOC_PERTURB_. The ordinary process reuses memory, and so has leftovers of other results in its own.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import internet
from tests.support.compare import assert_identical
from tests.support.evaluate import ROOT, environment_of, in_another_process
from tests.support.guarded_memory import COMPILER, guard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason=internet.ops.backends()["cpu"].reason),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and MALLOC_PERTURB_ are of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of the guarding library."""
    return tmp_path_factory.mktemp("guard")


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_another_process(tmp_path_factory.mktemp("unguarded") / "results.pt", {})


@pytest.mark.parametrize("fence", ["after", "before"])
def test_guarded_memory_changes_nothing(fence: str, folder: Path, unguarded: dict[str, Any], tmp_path: Path) -> None:
    guarded = in_another_process(tmp_path / "results.pt", guard(folder, fence))
    for fresh in guarded["fresh"].values():
        assert fresh.isnan().all(), "fresh memory is not NaN"
    assert unguarded["found"].keys() == guarded["found"].keys()
    for name, expected in unguarded["found"].items():
        assert not any(torch.isnan(tensor).any() for tensor in expected), name
        assert_identical(guarded["found"][name], expected, name)


@pytest.mark.parametrize(("fence", "element"), [("after", 1000), ("before", -1)])
def test_the_fence_stands(fence: str, element: int, folder: Path) -> None:
    """A read one element out of bounds ends the process."""
    code = (
        f"import ctypes, torch; t = torch.zeros(1000); ctypes.c_float.from_address(t.data_ptr() + 4 * {element}).value"
    )
    environment = environment_of(guard(folder, fence))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == -11, "no segmentation fault"
