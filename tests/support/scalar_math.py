"""The scalar arithmetic of csrc/math, compiled for Python by `math_bindings/`, and utilities for its tests.

CPU and GPU kernels share this single copy of the formulas, so that a machine without a GPU can check here what a GPU
will compute. The fixtures `m` and `either` of `conftest.py` are the bindings.
"""

import hashlib
import importlib.util
import math
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from filelock import FileLock  # torch needs it too

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parents[1] / "csrc"
COMPILER = next(filter(shutil.which, ("g++", "clang++", "c++")), None)

FAR = (math.inf, -math.inf, 1e30, -1e30)


def compiled(*options: str) -> ModuleType:
    """The bindings, compiled with these options besides; skips where that is not possible.

    They are kept under build/math_bindings, for the other test processes and for the next run.
    """
    pybind11 = pytest.importorskip("pybind11")
    if COMPILER is None or not HEADERS.exists():
        pytest.skip("no C++ compiler, or no C++ headers")
    sources = sorted([*HEADERS.rglob("*.h"), *(HERE / "math_bindings").iterdir()])
    told = [COMPILER, sys.version, pybind11.__version__, *options, *(path.read_text("utf-8") for path in sources)]
    folder = HEADERS.parent / "build/math_bindings" / hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"math_bindings{sysconfig.get_config_var('EXT_SUFFIX')}"
    with FileLock(folder / "lock"):
        if not library.exists():
            _compile(COMPILER, pybind11.get_include(), options, library)
    spec = importlib.util.spec_from_file_location("math_bindings", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(compiler: str, pybind11: str, options: Sequence[str], library: Path) -> None:
    includes = [f"-I{HEADERS}", f"-I{HERE}", f"-I{pybind11}", f"-I{sysconfig.get_paths()['include']}"]
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wno-psabi", "-Werror", *options]
    half = library.with_suffix(".half")
    command = [compiler, *flags, *includes, HERE / "math_bindings/module.cpp", "-o", half]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    half.rename(library)


def differences(function: Callable[[Any], Sequence[float]], at: Sequence[float], step: float = 1e-6) -> np.ndarray:
    """Jacobian (results, arguments) of a function of a list of numbers, by central differences."""
    columns = []
    for i in range(len(at)):
        above, below = list(at), list(at)
        above[i] += step
        below[i] -= step
        columns.append((np.array(function(above)) - np.array(function(below))) / (2 * step))
    return np.stack(columns, axis=1)


def hat(t: float, pixel: int) -> float:
    """Weight of a pixel in a sample at t."""
    return max(1 - abs(t - pixel), 0.0)
