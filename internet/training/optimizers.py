"""Optimizers by name, and their rates, which depend on the epoch only: there is no scheduler with a state to save."""

from collections.abc import Iterable

import torch
from torch import nn

from internet.training.config.sections import Optimizer

CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "radam": torch.optim.RAdam,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(section: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer for one side; :func:`set_rates` sets its rate."""
    options = {"lr": section.lr, "betas": section.betas, "foreach": True}  # all tensors at once, also on a CPU
    return CLASSES[section.name](parameters, **options)  # type: ignore[arg-type]


def set_rates(optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer], section: Optimizer, epoch: int) -> None:
    """Set the rates of both sides for an epoch: multiplied by gamma for each milestone passed."""
    passed = sum(epoch >= milestone for milestone in section.milestones)
    theirs = section.lr if section.discriminator_lr is None else section.discriminator_lr
    for optimizer, rate in zip(optimizers, (section.lr, theirs), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * section.gamma**passed
