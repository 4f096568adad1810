"""Configuration and fixtures of all tests."""

import os
from types import ModuleType
from typing import Any

import pytest
import torch

import internet
from internet.data.blaze_pose import BlazePose
from internet.utils.optional import MissingExtraError
from internet.utils.weight_files import MissingWeightsError
from tests import emulated
from tests.support.scalar_math import compiled

# Processes that the tests start have one thread too: pytest's own are as many as there are cores, and OpenMP's threads
# spin while they wait for one that has none.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if emulated.ASKED:
    emulated.stand_in()


APART = (
    "tests/emulated/test_emulated.py::",
    "tests/ops/test_triton.py::test_in_the_interpreter",
    "tests/ops/test_triton.py::test_no_kernel_spills",
)
"""Long tests that run in separate processes, and share no fixtures with the rest of their files."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` one worker runs all tests of a file, which share fixtures. Those in APART are distributed
    one by one, and first: the last tests are then short, so that all workers are busy to the end."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            scope: str = nodeid if nodeid.startswith(APART) else super()._split_scope(nodeid)
            return scope

        def _assign_work_unit(self, node: Any) -> None:
            apart = next((scope for scope in self.workqueue if scope.startswith(APART)), None)
            if apart is not None:
                self.workqueue.move_to_end(apart, last=False)
            super()._assign_work_unit(node)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_report_header() -> list[str]:
    """Which backends are tested."""
    return [f"internet.ops backend {name}: {status}" for name, status in internet.ops.backends().items()]


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """The same random numbers in every test, and one thread: the samples are tiny."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def blaze_pose() -> BlazePose:
    """The pose network, if its two packages are installed."""
    try:
        return BlazePose()
    except (MissingExtraError, MissingWeightsError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def m() -> ModuleType:
    """The scalar arithmetic of the kernels: see scalar_math.py."""
    return compiled()


@pytest.fixture(scope="session", params=["plain", "fused multiply-add"])
def either(request: pytest.FixtureRequest) -> ModuleType:
    """The same, for functions that are written in two ways: without and with fused multiply-add."""
    if request.param == "plain":
        module: ModuleType = request.getfixturevalue("m")
        return module
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("no flag that compiles the other way, on this machine")
    return compiled("-march=x86-64-v3", "-ffp-contract=fast")
