"""Correctness on this GPU: the test suite, and small shapes under compute-sanitizer, each in its own process.

An illegal access ends a CUDA context and all work of its process, so timing runs in another process.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import limits
from benchmarks.gpu.outcomes import VARIABLE

SANITIZER_TOOLS = ("memcheck", "racecheck", "synccheck")
FIRST = ("tests/ops/test_cuda.py", "tests/ops/test_cuda_device.py", "tests/ops/test_triton.py")
REST = "tests/ops"
PROCESSES = 10
"""The most processes, if pytest-xdist is installed: each has its own CUDA context."""


def first_selection() -> list[str]:
    """The tests that need a GPU: every operator, dtype and layout on both backends; streams, graphs, repeatability."""
    return [name for name in FIRST if Path(name).exists()]


def rest_selection() -> list[str]:
    """The other operators' tests that concern a GPU backend."""
    return [REST, *(f"--ignore={name}" for name in FIRST)]


def run_tests(name: str, selection: Sequence[str], folder: Path, seconds: float) -> dict[str, Any]:
    """Run a selection of the test suite, at most `seconds`.

    Returns:
        How many tests passed, failed and were skipped, the failed ones with their errors, and how it ended:
        "finished", "out of time", or the exit status of a crash.
    """
    outcomes = folder / f"tests of {name}.jsonl"
    outcomes.unlink(missing_ok=True)
    plugins = ["-p", "benchmarks.gpu.outcomes"]
    if importlib.util.find_spec("xdist"):
        plugins += ["-n", str(min(PROCESSES, len(os.sched_getaffinity(0))))]
    if importlib.util.find_spec("pytest_benchmark"):
        plugins += ["-p", "no:benchmark"]  # it warns about several processes
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *selection]
    environment = {**os.environ, VARIABLE: str(outcomes.resolve())}
    ended = limits.run(command, folder / f"tests of {name}.log", seconds, environment)
    lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    tests = [json.loads(line) for line in lines]
    failed = [test for test in tests if test["outcome"] == "failed"]
    return {
        "name": name,
        "selection": list(selection),
        "ended": ended if ended != "exit status 1" else "finished",  # pytest's status for failed tests
        **{name: Counter(test["outcome"] for test in tests)[name] for name in ("passed", "failed", "skipped")},
        "failures": failed,
    }


def sanitize(tool: str, device: torch.device, folder: Path, seconds: float) -> dict[str, Any]:
    """Run `benchmarks.gpu.small_shapes` under a tool of compute-sanitizer: its summary, or why it did not run.

    torch's caching allocator is switched off, as it puts many tensors into one allocation of the driver's: without it,
    an access beyond a tensor is beyond an allocation, which memcheck detects.
    """
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if device.type != "cuda" or sanitizer is None:
        reason = "no CUDA device" if device.type != "cuda" else "compute-sanitizer is not installed"
        return {"tool": tool, "ended": f"not run: {reason}"}
    log = folder / f"{tool}.log"
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    ended = limits.run([*command, "-m", "benchmarks.gpu.small_shapes"], log, seconds, environment)
    summary = [line for line in log.read_text(encoding="utf-8").splitlines() if "SUMMARY" in line]
    return {"tool": tool, "ended": ended, "summary": summary[-1] if summary else ""}
