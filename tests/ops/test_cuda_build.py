"""Checks of the CUDA library that need no GPU: ptxas's report on the kernels, and that the library registers complete
operators. They run if nvcc has built the library in this checkout."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from internet.utils import library

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/ninja"
LIBRARY = BUILD / "_C_cuda.abi3.so"
SOURCES = sorted((ROOT / "csrc/cuda").rglob("*.cu"))
# other folders are shared by several operators
STEMS = sorted(path.parent.name for path in (ROOT / "csrc/cuda").glob("*/glue.cpp"))

pytestmark = pytest.mark.skipif(
    not LIBRARY.is_file(), reason="nvcc has not built the CUDA library here (build/ninja/_C_cuda.abi3.so)"
)


@dataclass(frozen=True)
class Kernel:
    """One kernel in machine code for one architecture, as `ptxas -v` describes it."""

    name: str
    architecture: str
    properties: str

    def number(self, what: str) -> int:
        match = re.search(rf"(\d+) {what}", self.properties)
        return int(match[1]) if match else 0


def kernels(source: Path) -> list[Kernel]:
    """The kernels in the report that the build stored next to the object of a source file."""
    report = (BUILD / f"{source.relative_to(ROOT)}.o.log").read_text()
    parts = re.split(r"Compiling entry function '(\w+)' for '(\w+)'", report)
    return [Kernel(*parts[i : i + 3]) for i in range(1, len(parts), 3)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_kernel_spills_or_uses_local_memory(source: Path) -> None:
    found = kernels(source)
    assert found
    for kernel in found:
        assert kernel.number("registers") > 0, f"{kernel.name}: no report"
        assert "bytes stack frame" in kernel.properties
        used = {what: kernel.number(f"bytes {what}") for what in ("stack frame", "spill stores", "spill loads", "lmem")}
        assert not any(used.values()), f"{kernel.name} for {kernel.architecture}: {used}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_kernel_is_there_for_every_architecture(source: Path) -> None:
    build = (BUILD / "build.ninja").read_text()
    wanted = set(re.findall(r"code=(sm_\w+)", build))
    if not wanted:
        pytest.skip("the latest build in this checkout was one without CUDA")
    found = kernels(source)
    # nvcc adds a number to the names of functions that are local to a file
    names = {architecture: [k.name for k in found if k.architecture == architecture] for architecture in wanted}
    assert len({len(same) for same in names.values()}) == 1
    assert all(names.values())
    assert {kernel.architecture for kernel in found} == wanted


def test_the_device_code_is_in_the_library() -> None:
    sections = subprocess.run(["readelf", "-SW", LIBRARY], capture_output=True, text=True, check=True).stdout
    size = re.search(r"\.nv_fatbin\s+PROGBITS\s+\w+\s+\w+\s+(\w+)", sections)
    assert size
    assert int(size[1], 16) > 0


def registered() -> dict[str, list[bool]]:
    """For every operator, whether forward and backward are registered for CUDA, determined in a fresh process.

    Registering takes no GPU and, but for its name, no CUDA build of torch: without one, the build's empty stand-in
    for libtorch_cuda.so is loaded first, and the library's functions are looked up when they are first called.
    """
    code = """
import ctypes, json, os, sys
import torch
from internet.utils import library
from internet.ops import OPERATORS
stub, path = sys.argv[1:]
if torch.version.cuda is None:
    for torch_library in (os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so"), stub):
        ctypes.CDLL(torch_library, mode=ctypes.RTLD_GLOBAL)
if "_C_cuda" not in library.loaded:
    ctypes.PyDLL(path, mode=os.RTLD_LAZY)
has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
has_schema = torch._C._dispatch_has_kernel
print(json.dumps({
    name: [has_kernel(f"internet::{name}{part}", "CUDA") for part in ("", "_backward")
           if has_schema(f"internet::{name}{part}")]
    for name in OPERATORS
}))
"""
    command = [sys.executable, "-c", code, str(BUILD / "libtorch_cuda.so"), str(LIBRARY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result: dict[str, list[bool]] = json.loads(done.stdout)
    return result


@pytest.mark.skipif("_C" not in library.loaded, reason="the schemas are in _C, which is not loaded")
def test_whole_operators_are_registered() -> None:
    """An operator with a glue file has all of its kernels, including the gradient; the reference serves the others."""
    found = registered()
    assert {name for name, parts in found.items() if all(parts)} == set(STEMS)
    assert {name for name, parts in found.items() if any(parts)} == set(STEMS)
