"""What every test run shares."""

import pytest
import torch

import internet


def pytest_report_header() -> list[str]:
    """Which backends the tests will reach."""
    return [f"internet.ops backend {name}: {status}" for name, status in internet.ops.backends().items()]


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """The same random numbers in every test, and one thread: the samples are tiny."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
