"""What every test run shares."""

from types import ModuleType

import pytest
import torch

import internet
from tests import emulated
from tests.support.scalar_math import compiled

if emulated.ASKED:
    emulated.stand_in()


def pytest_report_header() -> list[str]:
    """Which backends the tests will reach."""
    return [f"internet.ops backend {name}: {status}" for name, status in internet.ops.backends().items()]


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """The same random numbers in every test, and one thread: the samples are tiny."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def m(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The scalar arithmetic of the kernels: see scalar_math.py."""
    return compiled(tmp_path_factory.mktemp("math"))


@pytest.fixture(scope="session", params=["plain", "fused multiply-add"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The same, for functions that are written in two ways: without and with fused multiply-add."""
    if request.param == "plain":
        module: ModuleType = request.getfixturevalue("m")
        return module
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("no flag that compiles the other way, on this machine")
    return compiled(tmp_path_factory.mktemp("math"), "-march=x86-64-v3", "-ffp-contract=fast")
