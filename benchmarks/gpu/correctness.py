"""Is it right here? The test suite, and the small shapes under compute-sanitizer, each in a process of its own.

An illegal access ends a CUDA context, and with it all work of its process: timing goes on in another.
"""

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

GPU_TESTS = tuple(f"tests/ops/test_{name}.py" for name in ("cuda", "triton", "values", "gradients"))
SANITIZER_TOOLS = ("memcheck", "racecheck")


def gpu_selection() -> list[str]:
    """Every operator, dtype and layout on the backends of a GPU; streams, graphs, repeatability."""
    files = [name for name in GPU_TESTS if Path(name).exists()]
    return [*files, "-k", "cuda or triton"]


def run_tests(selection: Sequence[str], folder: Path, seconds: float) -> dict[str, Any]:
    """Run a selection of the test suite for so long at most.

    Returns:
        How many tests passed, failed and were skipped, the failed ones with their errors, and how it ended:
        "finished", "out of time", or the exit status of a crash.
    """
    outcomes = folder / "tests.jsonl"
    outcomes.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.gpu.outcomes", *selection]
    environment = {**os.environ, VARIABLE: str(outcomes.resolve())}
    ended = limits.run(command, folder / "tests.log", seconds, environment)
    lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    tests = [json.loads(line) for line in lines]
    failed = [test for test in tests if test["outcome"] == "failed"]
    return {
        "selection": list(selection),
        "ended": ended if ended != "exit status 1" else "finished",  # pytest's word for failed tests
        **{name: Counter(test["outcome"] for test in tests)[name] for name in ("passed", "failed", "skipped")},
        "failures": failed,
    }


def sanitize(tool: str, device: torch.device, folder: Path, seconds: float) -> dict[str, Any]:
    """A tool of compute-sanitizer over `benchmarks.gpu.small_shapes`: what it said, or why it did not run."""
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if device.type != "cuda" or sanitizer is None:
        reason = "no CUDA device" if device.type != "cuda" else "compute-sanitizer is not installed"
        return {"tool": tool, "ended": f"not run: {reason}"}
    log = folder / f"{tool}.log"
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable]
    ended = limits.run([*command, "-m", "benchmarks.gpu.small_shapes"], log, seconds)
    summary = [line for line in log.read_text(encoding="utf-8").splitlines() if "SUMMARY" in line]
    return {"tool": tool, "ended": ended, "summary": summary[-1] if summary else ""}
