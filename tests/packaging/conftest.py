"""The sdist and the wheel of this checkout, built once."""

import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from tests.packaging.build import NAME, ROOT, call_backend


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree") / "internet"
    ignored = shutil.ignore_patterns("build", "dist", ".*", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=ignored)
    shutil.copy2(ROOT / ".clang-format", tree)
    return call_backend("build_sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the sdist. Objects that this checkout has already compiled are reused."""
    folder = unpacked(sdist, tmp_path_factory.mktemp("unpacked"))
    if (ROOT / "build/ninja").is_dir():
        shutil.copytree(ROOT / "build/ninja", folder / "build/ninja")
    left_over = folder / f"build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}/internet/gone.py"
    left_over.parent.mkdir(parents=True)
    left_over.touch()
    return call_backend("build_wheel", folder, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def pure_wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel without compiled libraries, built from the sdist."""
    folder = unpacked(sdist, tmp_path_factory.mktemp("unpacked"))
    return call_backend("build_wheel", folder, tmp_path_factory.mktemp("wheel"), INTERNET_PURE="1")


def unpacked(sdist: Path, folder: Path) -> Path:
    """The source tree in an sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    return folder / NAME
