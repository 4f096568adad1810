"""Eq. 8, its other forms, and feature matching."""

import pytest
import torch
from torch import Tensor

from internet.losses import (
    Objective,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from internet.losses.adversarial import FORMS


def judgement() -> list[list[Tensor]]:
    return [[torch.randn(2, 4, 6, 6), torch.randn(2, 1, 5, 5)], [torch.randn(2, 4, 3, 3), torch.randn(2, 1, 2, 2)]]


def test_equation_8():
    """Both sides play the same game: the generator minimises the part of the objective that contains O_t."""
    fake, real = judgement(), judgement()
    probability = [[scale[-1].double().sigmoid() for scale in side] for side in (fake, real)]
    of_fake = sum((1 - d).log().mean() for d in probability[0])
    of_real = sum(d.log().mean() for d in probability[1])
    for form in ("log", "nonsaturating"):
        assert discriminator_loss(fake, real, form).item() == pytest.approx(-(of_fake + of_real).item(), rel=1e-5)
    assert generator_loss(fake, "log").item() == pytest.approx(of_fake.item(), rel=1e-5)
    expected = -sum(d.log().mean() for d in probability[0]).item()
    assert generator_loss(fake, "nonsaturating").item() == pytest.approx(expected, rel=1e-5)


def test_other_forms():
    fake, real = judgement(), judgement()
    pairs = [(ours[-1], theirs[-1]) for ours, theirs in zip(fake, real, strict=True)]
    squares = sum((f**2).mean() + ((r - 1) ** 2).mean() for f, r in pairs)
    hinges = sum((1 + f).clamp(min=0).mean() + (1 - r).clamp(min=0).mean() for f, r in pairs)
    torch.testing.assert_close(discriminator_loss(fake, real, "lsgan"), squares)
    torch.testing.assert_close(discriminator_loss(fake, real, "hinge"), hinges)
    torch.testing.assert_close(generator_loss(fake, "lsgan"), sum(((f - 1) ** 2).mean() for f, _ in pairs))
    torch.testing.assert_close(generator_loss(fake, "hinge"), sum(-f.mean() for f, _ in pairs))


@pytest.mark.parametrize("form", FORMS)
def test_the_adversarial_losses_push_apart(form):
    """The discriminator lowers logits of fakes and raises those of real frames; the generator raises its own."""
    fake, real = (torch.full((1, 1, 2, 2), 0.5, requires_grad=True) for _ in range(2))
    discriminator_loss([[fake]], [[real]], form).backward()
    assert (fake.grad > 0).all()
    assert (real.grad < 0).all()
    fake.grad = None
    generator_loss([[fake]], form).backward()
    assert (fake.grad < 0).all()


def test_confident_logits_stay_finite():
    far = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    for form in FORMS:
        total = discriminator_loss([[far]], [[-far]], form) + generator_loss([[far]], form)
        total.backward()
        assert total.isfinite()
        assert far.grad.isfinite().all()


def test_an_unknown_form():
    for call in (lambda: generator_loss(judgement(), "tanh"), lambda: Objective(lambda x: [x], adversarial="tanh")):
        with pytest.raises(ValueError, match="'tanh', expected"):
            call()


def test_feature_matching():
    fake, real = judgement(), judgement()
    expected = sum((ours[0] - theirs[0]).abs().mean() for ours, theirs in zip(fake, real, strict=True)) / 2
    torch.testing.assert_close(feature_matching_loss(fake, real), expected)
