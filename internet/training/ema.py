"""A running mean of a model's weights, which is often the better model."""

import copy

import torch

from internet.model import INTERnet


class Ema:
    """`model`, a copy of a model whose weights follow the original's: m ← d m + (1 - d) w.

    The first means are taken over fewer steps, d = min(decay, (1 + n) / (10 + n)): they forget the beginning.
    Buffers, which are no weights, are copied.
    """

    def __init__(self, model: INTERnet, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: INTERnet, step: int) -> None:
        """Follow the model after its step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
