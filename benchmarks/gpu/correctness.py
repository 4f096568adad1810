"""Is it right here? The test suite, and the small shapes under compute-sanitizer, each in a process of its own.

An illegal access ends a CUDA context, and with it all work of its process: timing goes on in another.
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
FIRST = ("tests/ops/test_cuda.py", "tests/ops/test_triton.py")
REST = "tests/ops"
PROCESSES = 10
"""At most, where pytest-xdist is installed: each has a CUDA context of its own."""


def first_selection() -> list[str]:
    """What a GPU alone has: every operator, dtype and layout on both backends; streams, graphs, repeatability."""
    return [name for name in FIRST if Path(name).exists()]


def rest_selection() -> list[str]:
    """Everything else of the operators' tests that is about a backend of GPUs."""
    return [REST, *(f"--ignore={name}" for name in FIRST)]


def run_tests(name: str, selection: Sequence[str], folder: Path, seconds: float) -> dict[str, Any]:
    """Run a selection of the test suite for so long at most.

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
        plugins += ["-p", "no:benchmark"]  # it warns of the several processes
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *selection]
    environment = {**os.environ, VARIABLE: str(outcomes.resolve())}
    ended = limits.run(command, folder / f"tests of {name}.log", seconds, environment)
    lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    tests = [json.loads(line) for line in lines]
    failed = [test for test in tests if test["outcome"] == "failed"]
    return {
        "name": name,
        "selection": list(selection),
        "ended": ended if ended != "exit status 1" else "finished",  # pytest's word for failed tests
        **{name: Counter(test["outcome"] for test in tests)[name] for name in ("passed", "failed", "skipped")},
        "failures": failed,
    }


def sanitize(tool: str, device: torch.device, folder: Path, seconds: float) -> dict[str, Any]:
    """A tool of compute-sanitizer over `benchmarks.gpu.small_shapes`: its summary, or why it did not run.

    Without torch's cache of memory, which is one allocation of the driver's for many tensors: what lies beyond a
    tensor is then beyond an allocation, where memcheck sees an access.
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
