"""A pytest plugin that writes each test's outcome to a file as soon as it is known: one line of JSON a test.

Loaded by `-p benchmarks.gpu.outcomes`; the file is named by the environment variable INTERNET_OUTCOMES. A test
that crashes its process takes nothing with it but itself.
"""

import json
import os
from pathlib import Path

import pytest

VARIABLE = "INTERNET_OUTCOMES"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called by pytest after each phase of each test."""
    if report.when != "call" and report.passed:
        return  # set up and torn down, as it should be
    outcome = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
    if report.failed:
        outcome["error"] = report.longreprtext[-2000:]
    with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
