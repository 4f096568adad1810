"""Optimisation steps: every preset under every temporal scheme, and where each scheme's gradient goes."""

import functools
import time

import pytest
import torch
from torch import Tensor, nn

from internet.losses import REGULARIZATIONS, Batch, Objective, Weights, make_features, temporal_loss
from internet.losses.features import FrozenFeatures
from internet.model import PRESETS, INTERnet, INTERnetConfig, make_discriminator

#: Weights that include every term.
EVERYTHING = Weights(feature_matching=10.0)


@functools.cache
def features() -> FrozenFeatures:
    torch.manual_seed(1)
    return make_features("efficientnet-lite0", "random")


def random_batch(size: int) -> tuple[Tensor, Batch]:
    """A source frame and the rest of its sample, with flows of a few pixels that are consistent in some places."""
    source, target, previous = torch.rand(3, 1, 3, size, size)
    flow = torch.randn(1, 2, 1, 1).expand(1, 2, size, size)
    backward = -flow + 2 * (torch.rand(1, 1, size, size) < 0.3)
    return source, Batch(target, previous, flow.contiguous(), backward)


def check_gradients(module: nn.Module) -> None:
    """Finite and not all zero for every parameter."""
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def step(config: INTERnetConfig, regularization: str, size: int, network: FrozenFeatures) -> dict[str, Tensor]:
    """One step of both sides with RAdam, in which every parameter must have a gradient; returns the terms and M."""
    model, discriminator = INTERnet(config), make_discriminator(config)
    objective = Objective(network, regularization=regularization, weights=EVERYTHING)
    optimizers = [torch.optim.RAdam(side.parameters(), lr=2e-4) for side in (model, discriminator)]
    source, batch = random_batch(size)

    result = model(source, batch.target)
    discriminator.requires_grad_(False)
    terms = objective(result, batch, model.kp_detector, discriminator)
    objective.total(terms).backward()
    discriminator.requires_grad_(True)
    fake, real = discriminator(result.frame.detach()), discriminator(batch.target)
    objective.discriminator_total(fake, real).backward()
    for side in (model, discriminator):
        check_gradients(side)
    for optimizer in optimizers:
        optimizer.step()

    return terms | {"confidence": result.motion.confidence}


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_one_step_of_every_preset(preset, regularization):
    """The presets' networks on frames of 128²: they are convolutional, and the largest is slow at its own size."""
    seen = step(INTERnetConfig.preset(preset), regularization, 128, features())
    assert ("temporal" in seen) == (regularization != "none")
    assert {"adversarial", "perceptual", "style", "equivariance", "equivariance_jacobian"} < set(seen)
    assert 0.5 < seen["confidence"].mean() < 1


@pytest.mark.parametrize("changes", [{"scales": "single"}, {"stage_one": "first-order"}], ids=str)
def test_one_step_of_the_variants(changes):
    config = INTERnetConfig.preset("tiny", **changes)
    if config.stage_one == "first-order":  # batch normalisation needs two values at its smallest size
        step(config, "intrinsic", 256, features())
    else:
        step(config, "intrinsic", 64, features())


@pytest.mark.full_size
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("preset", ["internet-256", "internet-512"])
def test_one_step_at_full_size(preset, regularization):
    config = INTERnetConfig.preset(preset)
    begin = time.perf_counter()
    step(config, regularization, config.size, make_features("vgg19", "random"))
    print(f"{preset}, {regularization}: {time.perf_counter() - begin:.1f} s")


# The shortcut of the paper


@pytest.mark.parametrize("regularization", ["flow", "extrinsic", "intrinsic"])
def test_the_temporal_loss_alone_reaches_the_motion_estimator_only_through_its_confidence(regularization):
    """With the generated frame detached, the intrinsic scheme still gives stage I a gradient, and no other does."""
    torch.manual_seed(0)
    model = INTERnet(INTERnetConfig.preset("tiny"))
    source, batch = random_batch(64)
    result = model(source, batch.target)
    frame = result.frame.detach().requires_grad_()
    temporal_loss(
        frame,
        batch.previous,
        batch.flow,
        regularization=regularization,
        confidence=result.motion.confidence,
        flow_backward=batch.flow_backward,
    ).backward()
    assert frame.grad is not None
    assert frame.grad.any()  # the loss depends on the frame under every scheme
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    reached = {name for name, gradient in gradients.items() if gradient is not None and gradient.any()}
    assert not any(name.startswith("generator.") for name in reached)
    if regularization == "intrinsic":
        assert "dense_motion_network.occlusion.weight" in reached
        assert "dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight" in reached
        assert "kp_detector.kp.weight" in reached
        assert "dense_motion_network.mask.weight" not in reached  # M shares features with the mixture, not its head
    else:
        assert not reached


def test_without_the_cut_every_scheme_reaches_stage_one_through_the_generator():
    for regularization in ("flow", "extrinsic"):
        model = INTERnet(INTERnetConfig.preset("tiny"))
        source, batch = random_batch(64)
        result = model(source, batch.target)
        mask = {"flow_backward": batch.flow_backward}
        temporal_loss(result.frame, batch.previous, batch.flow, regularization=regularization, **mask).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
