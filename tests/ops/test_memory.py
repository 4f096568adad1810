"""Kernels read nothing that they have not been given or written, and write nothing that is not theirs.

In a process whose allocator fills fresh memory with NaN and fences each tensor (guarded_memory.cpp), every
sample gives bit for bit what it gives in an ordinary one. `torch.utils.deterministic.fill_uninitialized_memory`
would not do: it does not reach tensors that C++ allocates. What the kernels take from malloc is filled by
glibc's MALLOC_PERTURB_. The ordinary process reuses memory, and so has leftovers of other results in its own.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import internet
from tests.support.compare import assert_identical
from tests.support.evaluate import ROOT, environment_of, in_another_process

COMPILER = next(filter(shutil.which, ("g++", "clang++", "c++")), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason=internet.ops.backends()["cpu"].reason),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and MALLOC_PERTURB_ are of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables that guard a process's memory."""
    library = tmp_path_factory.mktemp("guard") / "guarded_memory.so"
    source = Path(__file__).parents[1] / "support/guarded_memory.cpp"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(library),
        "INTERNET_OUTPUT_POOL_MB": "0",  # every result in memory of torch's allocator
        "MALLOC_PERTURB_": "128",
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",  # MALLOC_PERTURB_ forgets that cache
    }


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_another_process(tmp_path_factory.mktemp("unguarded") / "results.pt", {})


@pytest.mark.parametrize("fence", ["after", "before"])
def test_guarded_memory_changes_nothing(
    fence: str, guard: dict[str, str], unguarded: dict[str, Any], tmp_path: Path
) -> None:
    guarded = in_another_process(tmp_path / "results.pt", {**guard, "FENCE": fence})
    for fresh in guarded["fresh"].values():
        assert fresh.isnan().all(), "fresh memory is not NaN"
    assert unguarded["found"].keys() == guarded["found"].keys()
    for name, expected in unguarded["found"].items():
        assert not any(torch.isnan(tensor).any() for tensor in expected), name
        assert_identical(guarded["found"][name], expected, name)


@pytest.mark.parametrize(("fence", "element"), [("after", 1000), ("before", -1)])
def test_the_fence_stands(fence: str, element: int, guard: dict[str, str]) -> None:
    """A read one element out of bounds ends the process."""
    code = (
        f"import ctypes, torch; t = torch.zeros(1000); ctypes.c_float.from_address(t.data_ptr() + 4 * {element}).value"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment_of({**guard, "FENCE": fence}), capture_output=True
    )
    assert done.returncode == -11, "no segmentation fault"
