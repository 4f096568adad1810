"""Is it right here? The test suite, and the small shapes under compute-sanitizer, each in a process of its own.

An illegal access ends a CUDA context, and with it all work of its process: timing goes on in another.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.outcomes import VARIABLE

GPU_TESTS = ("tests/test_cuda.py", "tests/test_triton.py", "tests/test_values.py", "tests/test_gradients.py")
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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.report.outcomes", *selection]
    environment = {**os.environ, VARIABLE: str(outcomes.resolve())}
    ended = _run(command, folder / "tests.log", seconds, environment)
    lines = outcomes.read_text(encoding="utf-8").splitlines() if outcomes.exists() else []
    tests = [json.loads(line) for line in lines]
    failed = [test for test in tests if test["outcome"] == "failed"]
    return {
        "selection": list(selection),
        "ended": ended if ended != "exit status 1" else "finished",  # pytest's word for failed tests
        **{name: Counter(test["outcome"] for test in tests)[name] for name in ("passed", "failed", "skipped")},
        "failures": failed,
    }


def sanitize(device: str, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """compute-sanitizer over `benchmarks.report.small_shapes`: what each tool said, or why it did not run."""
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if device != "cuda" or sanitizer is None:
        reason = "no CUDA device" if device != "cuda" else "compute-sanitizer is not installed"
        return [{"tool": tool, "ended": f"not run: {reason}"} for tool in SANITIZER_TOOLS]
    found = []
    for tool in SANITIZER_TOOLS:
        log = folder / f"{tool}.log"
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable]
        ended = _run([*command, "-m", "benchmarks.report.small_shapes"], log, seconds / len(SANITIZER_TOOLS), None)
        summary = [line for line in log.read_text(encoding="utf-8").splitlines() if "SUMMARY" in line]
        found.append({"tool": tool, "ended": ended, "summary": summary[-1] if summary else ""})
    return found


def _run(command: Sequence[str], log: Path, seconds: float, environment: dict[str, str] | None) -> str:
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=max(1.0, seconds), env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            return "out of time"
    return "finished" if done.returncode == 0 else f"exit status {done.returncode}"
