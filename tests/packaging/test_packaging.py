"""The sdist and the wheel contain exactly what they should, and the binaries are clean."""

import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import torch

import build_backend
from tests.packaging.build import NAME, ROOT, run

CODE = {".py", ".json", ".md", ".safetensors", ".yaml", ".css", ".js", ".cpp", ".h", ".cu", ".cuh", ".map", ".typed"}
FOLDERS = ("benchmarks", "csrc", "examples", "internet", "kernels", "tests")
ROOT_FILES = {
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    ".clang-format",
    "build_backend.py",
    "pyproject.toml",
    "setup.py",
}
SYSTEM_LIBRARIES = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
SYSTEM_LIBRARIES |= {"ld-linux-aarch64.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"}  # old glibc

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").is_file(), reason="the source tree is not here: nothing to package"
)


def source_files() -> set[str]:
    """The files that an sdist should have: by name at the top, by kind in the folders."""
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in CODE}
    return ROOT_FILES | {path.relative_to(ROOT).as_posix() for path in files}


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents in a folder."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def binaries(installed: Path) -> list[Path]:
    return sorted(installed.rglob("*.so"))


def in_python(folder: Path, code: str) -> str:
    """Run code with the package of `folder`, and no other."""
    # An editable installation has a finder, which would find modules that are missing in the folder in the checkout.
    alone = "sys.meta_path = [finder for finder in sys.meta_path if 'Editable' not in repr(finder)]"
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); {alone}\n{code}"
    output = run(sys.executable, "-c", f"{program}\nassert internet.__file__.startswith({str(folder)!r})", cwd=folder)
    return output.strip()


def test_the_sdist_is_the_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames() if archive.getmember(name).isfile()}
    generated = {name for name in names if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert names - generated == source_files()


def test_the_wheel_is_the_package(wheel: Path, installed: Path) -> None:
    modules = {name for name in source_files() if name.startswith("internet/")}
    kernels = {f"internet/{name}" for name in source_files() if name.startswith("kernels/")}
    assert "internet/kernels/affine_mixture.py" in kernels
    libraries = {"internet/_C.abi3.so"}
    cuda = "import internet.utils.library; print(internet.utils.library.build_info()['CUDA'])"
    if not in_python(installed, cuda).startswith("no"):
        libraries.add("internet/_C_cuda.abi3.so")
    info = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names == modules | kernels | libraries | {f"{NAME}.dist-info/{name}" for name in info}


def test_nothing_but_internet_is_installed(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {"internet", f"{NAME}.dist-info"}
    assert (installed / f"{NAME}.dist-info/top_level.txt").read_text().split() == ["internet"]


def test_one_wheel_for_every_python(wheel: Path) -> None:
    assert re.fullmatch(rf"{NAME}-cp310-abi3-linux_\w+\.whl", wheel.name)


def test_the_core_needs_torch_and_numpy_only(installed: Path) -> None:
    metadata = Parser().parsestr((installed / f"{NAME}.dist-info/METADATA").read_text())
    needs = metadata.get_all("Requires-Dist", [])
    assert {need for need in needs if "extra ==" not in need} == {build_backend.TORCH_REQUIREMENT, "numpy"}
    assert metadata["License-Expression"] == "Apache-2.0"


def test_binaries_name_no_place_of_the_building_machine(binaries: list[Path]) -> None:
    places = {str(ROOT), str(Path.home()), sys.prefix, sys.base_prefix, str(Path(torch.__file__).parent)}
    for binary in binaries:
        content = binary.read_bytes()
        found = [place for place in places if place.encode() in content]
        assert not found, f"{binary.name} contains {found}"
        assert b"site-packages" not in content


def test_binaries_export_their_entry_point_only(binaries: list[Path]) -> None:
    for binary in binaries:
        symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", binary).splitlines()]
        assert symbols == [f"PyInit_{binary.name.split('.')[0]}"]
        assert "no symbols" in subprocess.run(["nm", binary], capture_output=True, text=True, check=False).stderr


def test_binaries_need_torch_and_the_system_only(binaries: list[Path]) -> None:
    torch_library = {"_C.abi3.so": "libtorch_cpu.so", "_C_cuda.abi3.so": "libtorch_cuda.so"}
    for binary in binaries:
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d", binary)))
        assert torch_library[binary.name] in needed
        assert needed - {torch_library[binary.name]} <= SYSTEM_LIBRARIES  # no OpenMP, no CUDA runtime
        assert not re.search(r"RPATH|RUNPATH", run("readelf", "-d", binary))


def test_binaries_use_stable_interfaces_only(binaries: list[Path]) -> None:
    for binary in binaries:
        undefined = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "-u", binary).splitlines()}
        python = {name for name in undefined if name.startswith(("Py", "_Py"))}
        assert python <= {"PyModule_Create2", "PyModule_AddStringConstant", "_Py_Dealloc"}
        # torch's C++ symbols change with every release, those of its C shim do not; ours must all exist
        assert not [name for name in undefined if re.match(r"_ZN?K?\d*(2at|3c10|5torch|8internet)", name)]


def kernel_objects() -> list[Path]:
    return sorted((ROOT / "build/ninja/csrc").rglob("*.kernel.cpp.*.o"))


def name_of(kernel: Path) -> str:
    """Such as confidence_warp.forward.avx2."""
    return f"{kernel.parent.name}.{kernel.stem}".replace(".kernel.cpp", "")


@pytest.mark.skipif(not kernel_objects(), reason="no objects in build/ninja: the package was not built here")
@pytest.mark.parametrize("path", kernel_objects(), ids=name_of)
def test_no_instruction_set_leaks_into_another(path: Path) -> None:
    """A weak symbol outside the namespace of the instruction set, such as a std:: function that was not inlined,
    could be merged with its twin of another: AVX-512 code would then run on machines without it."""
    isa = path.name.split(".")[-2]
    lines = run("nm", "-C", "--defined-only", path).splitlines()
    shared = [line for line in lines if re.match(r"[0-9a-f]* [A-ZuvwV] ", line)]
    assert any(f"internet::cpu::{isa}::" in line for line in shared), "no kernel in this object"
    leaks = [line for line in shared if f"internet::cpu::{isa}::" not in line and "DW.ref." not in line]
    assert not leaks


def test_the_wheel_imports_and_computes(installed: Path) -> None:
    code = """
import torch, internet
from internet.ops import affine_mixture, backend
kp = torch.zeros(1, 2, 2)
with backend("cpu"):
    field = affine_mixture(torch.zeros(1, 3, 4, 4), kp, kp)
print(field.shape, internet.utils.library.cpu_isa())
"""
    assert re.fullmatch(r"torch.Size\(\[1, 4, 4, 2\]\) (baseline|avx2|avx512)", in_python(installed, code))


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_the_package_works_without_compiled_libraries(installed: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(installed / "internet", tmp_path / "internet")
    for binary in (tmp_path / "internet").glob("*.so"):
        binary.unlink() if damage == "missing" else binary.write_bytes(b"not a library")
    code = """
import torch, internet
from internet.ops import affine_mixture, backends
kp = torch.zeros(1, 2, 2)
field = affine_mixture(torch.zeros(1, 3, 4, 4), kp, kp)
print(field.shape, internet.utils.library.loaded, internet.utils.library.cpu_isa())
print(internet.utils.library.reasons["_C"])
print(backends()["cpu"])
"""
    computed, reason, status = in_python(tmp_path, code).splitlines()
    assert computed == "torch.Size([1, 4, 4, 2]) set() None"
    assert {"missing": "was not built", "broken": "does not load"}[damage] in reason
    assert reason in status


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_triton_needs_no_compiled_library(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pure Python wheel computes with Triton, here in its interpreter, forward and backward."""
    shutil.copytree(installed / "internet", tmp_path / "internet", ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    code = """
import torch, internet
from internet.ops import backend, upsample_motion
field = torch.rand(1, 2, 3, 2, requires_grad=True)
with backend("triton"):
    fine, _ = upsample_motion(field)
fine.sum().backward()
print(internet.utils.library.loaded, fine.grad_fn.name(), torch.allclose(field.grad, torch.full_like(field, 4.0)))
"""
    assert in_python(tmp_path, code) == "set() _UpsampleMotionBackward True"


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("INTERNET_CUDA", "yes", "it can be auto, 0 or 1"),
        ("TORCH_CUDA_ARCH_LIST", "8.0;Hopper", "'Hopper' is not of the form 8.0 or 9.0+PTX"),
    ],
)
def test_a_wrong_build_setting_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("wish", "machine_code", "ptx"),
    [
        (None, {"80", "90"}, {"90"}),  # Blackwell's driver compiles the PTX
        ("8.0;9.0;10.0;12.0+PTX", {"80", "90", "100", "120"}, {"120"}),
    ],
)
def test_the_build_serves_these_architectures(
    monkeypatch: pytest.MonkeyPatch, wish: str | None, machine_code: set[str], ptx: set[str]
) -> None:
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    if wish is not None:
        monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", wish)
    monkeypatch.setenv("INTERNET_CUDA", "0")
    monkeypatch.setattr("setuptools.setup", lambda **settings: None)
    monkeypatch.chdir(ROOT)
    flags = runpy.run_path("setup.py")["GENCODE"]
    assert set(re.findall(r"code=sm_(\w+)", flags)) == machine_code
    assert set(re.findall(r"code=compute_(\w+)", flags)) == ptx


@pytest.fixture
def isolated(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Like pip's isolated build: the environment is not on the path, but the Python is the same."""
    monkeypatch.setattr(build_backend.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(build_backend.build_meta, "get_requires_for_build_wheel", lambda settings: ["x"])
    monkeypatch.setattr(build_backend.site, "getusersitepackages", lambda: "nowhere")
    return monkeypatch


def test_an_isolated_build_uses_the_torch_that_is_installed(isolated: pytest.MonkeyPatch) -> None:
    folder = Path(torch.__file__).parent
    isolated.setattr(build_backend.site, "getsitepackages", lambda prefixes: ["elsewhere", str(folder.parent)])
    assert build_backend.find_torch() == folder
    assert build_backend.torch_version(folder) == torch.__version__
    assert build_backend.get_requires_for_build_wheel() == ["x"]


def test_an_isolated_build_asks_for_torch_where_there_is_none(isolated: pytest.MonkeyPatch) -> None:
    isolated.setattr(build_backend.site, "getsitepackages", lambda prefixes: ["elsewhere"])
    assert build_backend.get_requires_for_build_wheel() == ["x", build_backend.TORCH_REQUIREMENT]


@pytest.mark.parametrize(("version", "enough"), [("2.9.1", False), ("2.10.0a0", True), ("3.0.0+cpu", True)])
def test_an_old_torch_does_not_serve_the_build(tmp_path: Path, version: str, enough: bool) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '{version}'\n")
    assert build_backend.recent_enough(build_backend.torch_version(tmp_path)) is enough
