"""A pytest plugin for the tests of GPU backends, which writes each outcome to a file as soon as it is known.

Loaded by `-p benchmarks.gpu.outcomes`; the file, named by the environment variable INTERNET_OUTCOMES, gets one line of
JSON per test. If a test crashes its process, the outcomes before it are kept. Of the operators' tests only those of GPU
backends are run, selected by their parameters: names would also match files, and tests in the interpreter.
"""

import json
import os
from pathlib import Path

import pytest

VARIABLE = "INTERNET_OUTCOMES"


GPU_BACKENDS = ("cuda", "triton")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Called by pytest with all collected tests."""
    dropped = [item for item in items if "tests/ops/" in item.nodeid and not _is_about_gpus(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def _is_about_gpus(item: pytest.Item) -> bool:
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = any(isinstance(value, str) and value in GPU_BACKENDS for value in parameters)
    return named or item.get_closest_marker("gpu") is not None


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest at the start. Under pytest-xdist the controller writes, as it gets every report."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Outcomes(Path(os.environ[VARIABLE])))


class _Outcomes:
    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each phase of each test."""
        if report.when != "call" and report.passed:
            return  # set-up or tear-down without a failure
        outcome = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
        if report.failed:
            outcome["error"] = report.longreprtext[-2000:]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome) + "\n")
