"""The memory format of a model's weights."""

from typing import Any

import torch
from torch import nn

CONVERTED = "_channels_last"
"""The attribute of a module whose weights were converted."""


def to_channels_last(module: nn.Module) -> None:
    """Lay out the weights of all 2-D convolutions in channels_last, in place; remember which.

    Weights that processes share are left alone: another layout is other memory, which would not be shared.
    """
    for part in _convolutions(module):
        if part.weight.is_contiguous() and not (part.weight.device.type == "cpu" and part.weight.is_shared()):
            setattr(part, CONVERTED, True)
            _lay_out(part.weight, torch.channels_last)


def restore(module: nn.Module) -> None:
    """Lay out as before what was converted, in a module and in all that are in it."""
    for part in _convolutions(module):
        if vars(part).pop(CONVERTED, False):
            _lay_out(part.weight, torch.contiguous_format)


def _convolutions(module: nn.Module) -> list[Any]:
    """Whatever their classes are called: LIA has its own.

    A weight that is computed on every read (`torch.nn.utils.parametrize`) is not a parameter; reading it may change
    the module.
    """
    parts = [(part, part._parameters.get("weight")) for part in module.modules()]
    return [part for part, weight in parts if weight is not None and weight.dim() == 4]


def _lay_out(weight: nn.Parameter, memory_format: torch.memory_format) -> None:
    """The parameter stays the same object, which optimizers hold, and one that can be trained."""
    with torch.inference_mode(weight.is_inference()):
        weight.data = weight.data.contiguous(memory_format=memory_format)
        if weight.grad is not None:
            weight.grad.data = weight.grad.data.contiguous(memory_format=memory_format)
