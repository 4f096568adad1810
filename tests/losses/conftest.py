"""A tiny model's result with a batch that has every entry."""

import pytest
import torch

from internet.losses import (
    Batch,
)
from internet.model import INTERnet, INTERnetConfig, Result


@pytest.fixture
def sample() -> tuple[INTERnet, Result, Batch]:
    model = INTERnet(INTERnetConfig.preset("tiny", background="affine"))
    source, target, previous = torch.rand(3, 1, 3, 64, 64)
    visible = (torch.rand(1, 1, 64, 64) > 0.5).float()
    still, moved = torch.zeros(1, 2, 64, 64), torch.randn(1, 2, 64, 64)
    points, turns = torch.rand(2, 1, 4, 2) - 0.5, torch.randn(2, 1, 4, 2, 2)
    parts = torch.randint(0, 5, (1, 1, 64, 64)).float()
    batch = Batch(target, previous, still, still, moved, visible, *points, *turns, parts, 1 - visible)
    return model, model(source, target), batch
