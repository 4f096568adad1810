"""Eq. 8: the multi-scale adversarial loss, the forms it can take, and feature matching."""

import torch
from torch import Tensor
from torch.nn import functional

from internet.losses.distance import mean_absolute_difference
from internet.model.blocks import widened
from internet.model.discriminator import DiscriminatorOutput

#: Eq. 8 as printed; the same for the discriminator, with a generator that minimises -log D; two other losses.
FORMS = ("log", "nonsaturating", "lsgan", "hinge")


def discriminator_loss(fake: DiscriminatorOutput, real: DiscriminatorOutput, form: str = "log") -> Tensor:
    r"""What the discriminators minimise, summed over scales, averaged over patches.

    "log" and "nonsaturating": :math:`-\log(1 - D_i(O)) - \log D_i(I)`, Eq. 8 with its sign turned.
    "lsgan": :math:`D_i(O)^2 + (D_i(I) - 1)^2`. "hinge": :math:`\max(0, 1 + D_i(O)) + \max(0, 1 - D_i(I))`.
    """
    terms = [_fake_term(logits, form).mean() for logits in _logits(fake)]
    terms += [_real_term(logits, form).mean() for logits in _logits(real)]
    return torch.stack(terms).sum()


def generator_loss(fake: DiscriminatorOutput, form: str = "log") -> Tensor:
    r"""What the generator minimises, summed over scales, averaged over patches.

    "log": :math:`\log(1 - D_i(O))`, the part of Eq. 8 that depends on it. "nonsaturating": :math:`-\log D_i(O)`,
    which has the same optimum, and a gradient that does not vanish where the discriminator is certain.
    "lsgan": :math:`(D_i(O) - 1)^2`. "hinge": :math:`-D_i(O)`.
    """
    return torch.stack([_generator_term(logits, form).mean() for logits in _logits(fake)]).sum()


def feature_matching_loss(fake: DiscriminatorOutput, real: DiscriminatorOutput) -> Tensor:
    """Feature matching as in pix2pixHD: the mean absolute difference of features, over all layers and scales."""
    pairs = [pair for ours, theirs in zip(fake, real, strict=True) for pair in zip(ours[:-1], theirs[:-1], strict=True)]
    return torch.stack([mean_absolute_difference(ours, theirs.detach()) for ours, theirs in pairs]).mean()


def _logits(output: DiscriminatorOutput) -> list[Tensor]:
    return [widened(features[-1]) for features in output]


def _fake_term(logits: Tensor, form: str) -> Tensor:
    if form in ("log", "nonsaturating"):
        return functional.softplus(logits)  # -log(1 - sigmoid)
    if form == "lsgan":
        return logits.square()
    if form == "hinge":
        return functional.relu(1 + logits)
    raise _unknown(form)


def _real_term(logits: Tensor, form: str) -> Tensor:
    return _fake_term(1 - logits if form == "lsgan" else -logits, form)


def _generator_term(logits: Tensor, form: str) -> Tensor:
    if form == "log":
        return -functional.softplus(logits)
    if form == "nonsaturating":
        return functional.softplus(-logits)
    if form == "lsgan":
        return (logits - 1).square()
    if form == "hinge":
        return -logits
    raise _unknown(form)


def _unknown(form: str) -> ValueError:
    return ValueError(f"form is {form!r}, expected {' or '.join(map(repr, FORMS))}")
