"""The wheels that people install: each in an environment with nothing but torch and its dependencies."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from internet import ops
from tests.packaging.build import NAME, ROOT, run

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").is_file(), reason="the source tree is not here: nothing to package"
)


def environment(folder: Path, wheel: Path) -> Path:
    """The Python of a new environment with the wheel; torch is borrowed from this one."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return python


def in_environment(python: Path, code: str) -> str:
    """The output of code in that environment, with the installed package."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("INTERNET_", "PYTHON"))}
    check = f"import internet; assert internet.__file__.startswith({str(python.parents[1])!r}), internet.__file__"
    return run(python, "-c", f"{check}\n{code}", cwd=python.parents[1], env=variables)


def test_the_pure_wheel_fits_every_platform(pure_wheel: Path) -> None:
    assert pure_wheel.name == f"{NAME}-py3-none-any.whl"
    assert pure_wheel.stat().st_size < 20 << 20


def test_ten_lines_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment", wheel)
    status = in_environment(python, "from internet import ops; print(ops.backends()['cpu'])")
    assert status.strip() == str(ops.backends()["cpu"])
    in_environment(python, ten_lines())


def test_ten_lines_from_the_pure_wheel(pure_wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "environment", pure_wheel)
    status = in_environment(python, "from internet import ops; print(ops.backends()['cpu'])")
    assert "was not built" in status
    in_environment(python, ten_lines())
    assert "reference" in run(python, "-m", "internet", "info", cwd=tmp_path)


def ten_lines() -> str:
    """The code at the beginning of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert len(found[1].strip().splitlines()) <= 12
    return found[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="manylinux is Linux's")
def test_the_manylinux_tag_is_what_the_symbols_allow(wheel: Path, tmp_path: Path) -> None:
    auditwheel = shutil.which("auditwheel", path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if auditwheel is None:
        pytest.skip("auditwheel is not installed: pip install 'internet-ops[release]'")
    repair = [auditwheel, "repair", "--exclude", "libtorch_*.so", "--wheel-dir", tmp_path, wheel]
    path = f"{Path(auditwheel).parent}:{os.environ['PATH']}"
    run(*repair, env={**os.environ, "PATH": path})
    (repaired,) = tmp_path.glob("*.whl")
    tag = re.fullmatch(rf"{NAME}-cp310-abi3-.*manylinux_2_(\d+)_{platform.machine()}.*\.whl", repaired.name)
    assert tag, repaired.name
    needed = [int(minor) for library in libraries(repaired, tmp_path / "in") for minor in glibc_minors(library)]
    assert max(needed) <= int(tag[1])
    assert not list((tmp_path / "in").glob("*.libs"))  # nothing of torch's was copied


def libraries(wheel: Path, folder: Path) -> list[Path]:
    """The compiled libraries of a wheel, unpacked."""
    shutil.unpack_archive(wheel, folder, "zip")
    return sorted(folder.rglob("*.so"))


def glibc_minors(library: Path) -> list[str]:
    """N for every version GLIBC_2.N from which a library needs symbols."""
    return re.findall(r"GLIBC_2\.(\d+)", subprocess.check_output(["objdump", "-T", library], text=True))


@pytest.mark.parametrize("value", ["yes", "2"])
def test_a_wrong_word_for_pure_stops_the_build(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INTERNET_PURE", value)
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"INTERNET_PURE is '{value}'; it can be 0 or 1" in done.stderr
