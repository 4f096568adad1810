"""The temporal loss across identities."""

import pytest
import torch
from torch import Tensor

from internet import ops
from internet.losses.cross_identity import cross_identity_loss
from internet.model import INTERnet, INTERnetConfig


@pytest.fixture
def model() -> INTERnet:
    torch.manual_seed(0)
    return INTERnet(INTERnetConfig.preset("tiny", size=32))


def constant_flow(first: Tensor, second: Tensor) -> Tensor:
    return torch.tensor([1.5, -0.5])[None, :, None, None].expand(len(first), 2, *first.shape[2:])


def test_it_is_equation_4_of_the_next_samples_source(model):
    source, driving, previous = torch.rand(3, 3, 3, 32, 32)
    seen = []

    def flow(first: Tensor, second: Tensor) -> Tensor:
        seen.append((first, second))
        return constant_flow(first, second)

    loss = cross_identity_loss(model, source, driving, previous, flow)
    others = source[[2, 0, 1]]
    before, now = model(others, previous), model(others, driving)
    torch.testing.assert_close(seen[0], (before.frame.detach(), now.frame.detach()))
    expected = ops.masked_backwarp_loss(
        now.frame, before.frame, constant_flow(source, source), now.motion.confidence, norm="l1"
    )
    torch.testing.assert_close(loss, expected)


def test_its_gradient_reaches_stage_one_and_not_the_frame_before(model):
    source, driving = torch.rand(2, 2, 3, 32, 32)
    previous = torch.rand(2, 3, 32, 32, requires_grad=True)
    cross_identity_loss(model, source, driving, previous, constant_flow).backward()
    assert previous.grad is None
    assert all(float(p.grad.abs().sum()) > 0 for p in (model.kp_detector.kp.weight, model.generator.last.weight))


def test_one_sample_has_nobody_else(model):
    frame = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="needs at least 2"):
        cross_identity_loss(model, frame, frame, frame)
