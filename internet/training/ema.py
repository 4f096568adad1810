"""An exponential moving average of a model's weights, which is often better than the weights themselves."""

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from internet.model import INTERnet


class Ema:
    """`model` is a copy of a model, whose weights follow those of the original: m ← d m + (1 - d) w.

    The first averages are over fewer steps, d = min(decay, (1 + n) / (10 + n)), so that the initial weights fade.
    Buffers are copied.
    """

    def __init__(self, model: INTERnet, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: INTERnet, step: int) -> None:
        """Update the average after the model's step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.model.parameters()), list(model.parameters()), None)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
