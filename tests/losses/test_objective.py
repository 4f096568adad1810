"""Eqs. 1 and 7: every term, its weight, and their sum."""

import dataclasses

import pytest
import torch

from internet import ops
from internet.losses import (
    Objective,
    ThinPlateSpline,
    Weights,
    anchor_losses,
    background_loss,
    confidence_loss,
    discriminator_loss,
    equivariance_losses,
    feature_matching_loss,
    flow_guidance_loss,
    generator_loss,
    make_features,
    perceptual_loss,
    region_loss,
    style_loss,
)
from internet.model import make_discriminator
from tests.support.feature_networks import two_layers

#: All but one, which needs the model itself and is computed by the training step.
TERMS = {field.name for field in dataclasses.fields(Weights)} - {"cross_identity"}


def test_equations_1_and_7(sample):
    model, result, batch = sample
    weights = Weights(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
    discriminator = make_discriminator(model.config)
    objective = Objective(two_layers, weights=weights)
    torch.manual_seed(5)
    terms = objective(result, batch, model.kp_detector, discriminator)
    torch.manual_seed(5)
    spline = ThinPlateSpline.random(1)
    points, jacobians = equivariance_losses(model.kp_detector, batch.target, result.driving_anchors, spline)
    fake, real = discriminator(result.frame), discriminator(batch.target)
    ours, theirs = two_layers(result.frame), two_layers(batch.target)
    taught = (
        anchor_losses(result.source_anchors, batch.source_anchors, batch.source_turns),
        anchor_losses(result.driving_anchors, batch.current_anchors, batch.current_turns),
    )
    expected = {
        "adversarial": generator_loss(fake),
        "perceptual": perceptual_loss(ours, theirs),
        "style": style_loss(ours, theirs),
        "temporal": ops.masked_backwarp_loss(result.frame, batch.previous, batch.flow, result.motion.confidence),
        "equivariance": points,
        "equivariance_jacobian": jacobians,
        "feature_matching": feature_matching_loss(fake, real),
        "pixel": (result.frame - batch.target).abs().mean(),
        "guidance": flow_guidance_loss(result.motion.field, batch.motion, batch.motion_reliable),
        "anchors": (taught[0][0] + taught[1][0]) / 2,
        "anchors_jacobian": (taught[0][1] + taught[1][1]) / 2,
        "regions": region_loss(result.motion.logits, batch.current_parts),
        "background": background_loss(result.motion.background, batch.motion, batch.current_parts),
        "confidence": confidence_loss(result.motion.confidence, batch.motion_visible),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)
    total = sum(getattr(weights, name) * value for name, value in expected.items())
    torch.testing.assert_close(objective.total(terms), total)
    assert set(expected) == TERMS
    torch.testing.assert_close(objective.discriminator_total(fake, real), discriminator_loss(fake, real))


@pytest.mark.parametrize("name", sorted(TERMS))
def test_a_term_of_no_weight_is_left_out(sample, name):
    model, result, batch = sample
    ones = Weights(**{field.name: 1.0 for field in dataclasses.fields(Weights)})
    weights = dataclasses.replace(ones, **{name: 0.0})
    terms = Objective(two_layers, weights=weights)(result, batch, model.kp_detector, make_discriminator(model.config))
    assert set(terms) == TERMS - {name}


def test_weights_and_deformations_of_one_step_take_the_place_of_the_objectives_own(sample):
    model, result, batch = sample
    objective, own = Objective(two_layers), Weights(adversarial=0, perceptual=3, style=0, equivariance_jacobian=0)
    spline = ThinPlateSpline.random(len(batch.target))
    anchors = (model.kp_detector, make_discriminator(model.config))
    terms = objective(result, batch, *anchors, weights=own, spline=spline)
    assert set(terms) == {"perceptual", "temporal", "equivariance"}
    expected, _ = equivariance_losses(model.kp_detector, batch.target, result.driving_anchors, spline)
    torch.testing.assert_close(terms["equivariance"], expected)
    total = 3 * terms["perceptual"] + 10 * terms["temporal"] + 10 * terms["equivariance"]
    torch.testing.assert_close(objective.total(terms, own), total)


def test_an_unknown_scheme():
    with pytest.raises(ValueError, match="regularization is 'both', expected one of none, flow"):
        Objective(two_layers, regularization="both")


def test_all_losses_under_bfloat16_autocast(sample):
    model, _, batch = sample
    discriminator = make_discriminator(model.config)
    objective = Objective(make_features("efficientnet-lite0", "random"))
    torch.manual_seed(5)
    full = objective(model(batch.previous, batch.target), batch, model.kp_detector, discriminator)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        low = objective(model(batch.previous, batch.target), batch, model.kp_detector, discriminator)
    for name, value in full.items():
        assert low[name].dtype == torch.float32, name
        assert low[name].item() == pytest.approx(value.item(), rel=0.1, abs=0.02), name
