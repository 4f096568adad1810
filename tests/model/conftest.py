"""Fixtures for the tests of first-order-motion."""

from typing import Any

import pytest
import torch

from tests.support.first_order import checkpoint, settings


@pytest.fixture(scope="session")
def small() -> tuple[dict[str, Any], dict[str, Any]]:
    torch.manual_seed(0)
    return settings(), checkpoint(settings())
