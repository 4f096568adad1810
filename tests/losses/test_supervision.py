"""Supervision by drawn figures: anchors, regions and confidence."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from internet.losses import (
    Objective,
    Weights,
    anchor_losses,
    confidence_loss,
    region_loss,
)
from internet.model import Anchors, make_discriminator
from tests.support.feature_networks import two_layers


def test_anchors_on_their_parts_have_no_loss():
    points, turns = torch.rand(2, 3, 2) - 0.5, torch.randn(2, 3, 2, 2)
    anchors = Anchors(torch.cat([points, torch.rand(2, 1, 2)], 1), torch.cat([turns, torch.rand(2, 1, 2, 2)], 1))
    assert [loss.item() for loss in anchor_losses(anchors, points, turns)] == [0, 0]
    off, turned = anchor_losses(Anchors(anchors.kp + 0.25, anchors.jac - 0.5), points, turns)
    assert (off.item(), turned.item()) == (pytest.approx(0.25), pytest.approx(0.5))


def test_parts_out_of_the_frame_are_not_counted():
    points, turns = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, 2)
    points[0, 1, 0] = 1.5
    anchors = Anchors(torch.full((1, 2, 2), 0.1), torch.full((1, 2, 2, 2), 0.2))
    assert [loss.item() for loss in anchor_losses(anchors, points, turns)] == pytest.approx([0.1, 0.2])
    assert [loss.item() for loss in anchor_losses(anchors, points + 2, turns)] == [0, 0]
    with pytest.raises(ValueError, match="1 anchors, expected at least 2"):
        anchor_losses(Anchors(anchors.kp[:, :1], anchors.jac[:, :1]), points, turns)


def test_the_region_loss_is_the_cross_entropy_of_the_parts():
    parts, logits = torch.randint(0, 3, (2, 1, 8, 8)), torch.randn(2, 4, 8, 8)  # one anchor has no part
    torch.testing.assert_close(region_loss(logits, parts.float()), F.cross_entropy(logits, parts[:, 0]))
    coarse = logits[..., ::2, ::2]
    enlarged = F.interpolate(coarse, scale_factor=2)
    torch.testing.assert_close(region_loss(coarse, parts), F.cross_entropy(enlarged, parts[:, 0]))


def test_the_confidence_loss_is_the_cross_entropy_of_the_visible_share():
    visible = torch.zeros(1, 1, 8, 8)
    visible[..., :2] = 1  # half of the left column of M, a quarter of its row
    confidence = torch.tensor([[0.6, 0.1], [0.7, 0.2]])[None, None]
    share = torch.tensor([[0.5, 0.0], [0.5, 0.0]])[None, None]
    expected = F.binary_cross_entropy(confidence, share)
    torch.testing.assert_close(confidence_loss(confidence, visible), expected)
    certain = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    confidence_loss(certain, visible).backward()
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("name", ["anchors", "anchors_jacobian", "regions", "confidence"])
def test_what_is_taught_must_be_there(sample, name):
    model, result, batch = sample
    batch = dataclasses.replace(batch, motion_visible=None, source_turns=None, current_parts=None)
    objective = Objective(two_layers, regularization="none", weights=Weights(0, 0, 0, 0, 0, 0, **{name: 1.0}))
    with pytest.raises(ValueError, match=r"needs (the parts|motion_visible)"):
        objective(result, batch, model.kp_detector, make_discriminator(model.config))
