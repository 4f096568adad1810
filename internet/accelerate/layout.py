"""The memory format of a model's weights."""

from typing import Any

import torch
from torch import nn

CONVERTED = "_channels_last"
"""The attribute that marks a module whose weights were converted."""


def to_channels_last(module: nn.Module) -> None:
    """Convert the weights of all 2-D convolutions to channels_last, in place, and mark these modules.

    Weights that processes share are left alone: another layout is other memory, which would not be shared.
    """
    for part in _convolutions(module):
        if part.weight.is_contiguous() and not (part.weight.device.type == "cpu" and part.weight.is_shared()):
            setattr(part, CONVERTED, True)
            _lay_out(part.weight, torch.channels_last)


def restore(module: nn.Module) -> None:
    """Convert back the weights of a module and of all modules in it."""
    for part in _convolutions(module):
        if vars(part).pop(CONVERTED, False):
            _lay_out(part.weight, torch.contiguous_format)


def _convolutions(module: nn.Module) -> list[Any]:
    """All modules with 2-D convolution weights, of any class: LIA has its own classes.

    A weight that is computed on every read (`torch.nn.utils.parametrize`) is not a parameter; reading it may change
    the module.
    """
    parts = [(part, part._parameters.get("weight")) for part in module.modules()]
    return [part for part, weight in parts if weight is not None and weight.dim() == 4]


def _lay_out(weight: nn.Parameter, memory_format: torch.memory_format) -> None:
    """Convert a parameter, which stays the same trainable object, as optimizers refer to it."""
    with torch.inference_mode(weight.is_inference()):
        weight.data = weight.data.contiguous(memory_format=memory_format)
        if weight.grad is not None:
            weight.grad.data = weight.grad.data.contiguous(memory_format=memory_format)
