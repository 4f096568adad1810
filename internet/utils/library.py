"""Loads the compiled libraries, which register `torch.ops.internet.*`, and records why one is missing.

There are two, so that one wheel serves every torch: `_C` holds the operators' schemas and the CPU kernels and
loads wherever torch does; `_C_cuda` holds the CUDA kernels and loads if torch was built with CUDA. The package
works without either: the operators then run on another backend.
"""

import hashlib
import importlib
import json
import re
from pathlib import Path

import torch

from internet.utils.torch_internals import operators_of

MINIMUM_TORCH = (2, 10)
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")

SCHEMA = "01abbab9"
"""`fingerprint` of csrc/schema.cpp: the operators that this Python package calls."""

loaded: set[str] = set()
"""The libraries that are loaded, of "_C" and "_C_cuda"."""

reasons: dict[str, str] = {}
"""For each library that is not loaded, the reason, as a message for the user."""


def check_torch(version: str) -> None:
    """Raise ImportError if torch is older than the stable ABI that the libraries are built for."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if match and (int(match[1]), int(match[2])) < MINIMUM_TORCH:
        wanted = ".".join(map(str, MINIMUM_TORCH))
        raise ImportError(f"internet needs torch >= {wanted}, but torch {version} is installed")


def _load(name: str) -> None:
    try:
        importlib.import_module(f"internet.{name}")
    except ModuleNotFoundError:
        reasons[name] = f"internet.{name} was not built: it is not in {Path(__file__).parents[1]}"
    except ImportError as error:
        reasons[name] = f"internet.{name} does not load: {error}"
    else:
        loaded.add(name)


def fingerprint() -> str:
    """The names and arguments of all operators that are registered as `torch.ops.internet.*`, in eight digits.

    Types and defaults are left out, because torch may change how it writes them.
    """
    described = [f"{name}({','.join(arguments)})" for name, arguments in operators_of("internet").items()]
    return hashlib.sha256("\n".join(sorted(described)).encode()).hexdigest()[:8]


def _refuse(name: str, difference: str) -> None:
    """Ignore a library of another version: its kernels would be called with wrong arguments."""
    loaded.discard(name)
    reasons[name] = (
        f"internet.{name} was built from other sources than this package: {difference}; rebuild it: "
        "`python setup.py build_ext --inplace` in a source tree, or reinstall internet-ops"
    )


def _load_all() -> None:
    check_torch(torch.__version__)
    _load("_C")
    if "_C" in loaded and fingerprint() != SCHEMA:
        _refuse("_C", f"its operators are {fingerprint()}, expected {SCHEMA}")
    if "_C" not in loaded:
        reasons["_C_cuda"] = "internet._C_cuda needs internet._C, which is not loaded"
    elif torch.version.cuda is None:
        reasons["_C_cuda"] = f"torch {torch.__version__} was built without CUDA"
    else:
        _load("_C_cuda")
        if "_C_cuda" in loaded and _built("_C_cuda").get("schema") != _built("_C").get("schema"):
            _refuse("_C_cuda", "not the csrc/schema.cpp that internet._C was built from")


def _built(name: str) -> dict[str, str]:
    info: dict[str, str] = json.loads(importlib.import_module(f"internet.{name}").build_info)
    return info


def build_info() -> dict[str, str]:
    """How the libraries were built: compiler, instruction sets, CUDA. Empty without `_C`."""
    return _built("_C") if "_C" in loaded else {}


def cpu_isa() -> str | None:
    """The instruction set that the CPU kernels run with: "baseline", "avx2" or "avx512"; None without `_C`.

    The environment variable INTERNET_CPU_ISA can select one below the best.

    Raises:
        RuntimeError: INTERNET_CPU_ISA is none of the three, or not supported by the machine.
    """
    return INSTRUCTION_SETS[torch.ops.internet.cpu_isa()] if "_C" in loaded else None


_load_all()
