"""The part of the optical flow that a motion field does not explain."""

import dataclasses

import pytest
import torch

from internet.geometry import identity_field
from internet.losses import (
    Objective,
    Weights,
    flow_guidance_loss,
)
from internet.model import make_discriminator
from tests.support.feature_networks import two_layers


def test_guidance_is_the_part_of_the_flow_that_is_left():
    motion = torch.zeros(2, 2, 16, 32)
    motion[:, 0], motion[:, 1] = 4, -4  # 0.25 and -0.5 of half a frame
    whole, epsilon = 0.25**2 + 0.5**2, 0.02**2
    still = identity_field(4, 8).repeat(2, 1, 1, 1)
    assert flow_guidance_loss(still, motion).item() == pytest.approx(whole / (whole + epsilon))
    moved = still + torch.tensor([0.25, -0.5])
    assert flow_guidance_loss(moved, motion).item() == pytest.approx(0, abs=1e-6)
    assert flow_guidance_loss(moved, -motion).item() == pytest.approx(4 * whole / (whole + epsilon))
    visible = torch.zeros(2, 1, 16, 32)
    visible[0, :, :, :8] = 1  # and nothing in the second sample
    assert flow_guidance_loss(still, motion, visible).item() == pytest.approx(whole / (whole + epsilon) / 2)


def test_guidance_without_a_flow(sample):
    model, result, batch = sample
    objective, batch = Objective(two_layers, weights=Weights(guidance=1)), dataclasses.replace(batch, motion=None)
    with pytest.raises(ValueError, match="guidance needs motion"):
        objective(result, batch, model.kp_detector, make_discriminator(model.config))
