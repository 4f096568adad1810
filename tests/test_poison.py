"""Nothing is read before it is written: fresh memory full of NaN changes no bit of any result.

`torch.utils.deterministic.fill_uninitialized_memory` does not reach tensors that C++ allocates, so the
allocator itself is replaced. What kernels take from malloc is filled by glibc's MALLOC_PERTURB_.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import internet
from tests.compare import assert_identical
from tests.evaluate import in_another_process

COMPILER = next(filter(shutil.which, ("g++", "clang++", "c++")), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not internet.ops.backends()["cpu"].ready, reason=internet.ops.backends()["cpu"].reason),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and MALLOC_PERTURB_ are of Linux"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
]


def test_poisoned_memory_changes_nothing(tmp_path: Path) -> None:
    library = tmp_path / "poison.so"
    source = Path(__file__).with_name("poison.cpp")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    clean = in_another_process(tmp_path / "clean.pt", {})
    poison = {"LD_PRELOAD": str(library), "MALLOC_PERTURB_": "128", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    poisoned = in_another_process(tmp_path / "poisoned.pt", poison)

    for fresh in poisoned["fresh"].values():
        assert fresh.isnan().all(), "the poison does not work"
    assert clean["found"].keys() == poisoned["found"].keys()
    for name, expected in clean["found"].items():
        assert_identical(poisoned["found"][name], expected, name)
        assert not any(torch.isnan(tensor).any() for tensor in poisoned["found"][name]), name
