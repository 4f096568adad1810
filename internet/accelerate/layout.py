"""The memory format of a model's weights."""

import torch
from torch import Tensor, nn

CONVERTED = "_channels_last"
"""The attribute that names the weights which were converted."""


def to_channels_last(module: nn.Module) -> None:
    """Lay out the weights of all 2-D convolutions in channels_last, in place; remember which."""
    converted = getattr(module, CONVERTED, ())
    converted += tuple(name for name, weight in _weights(module) if weight.is_contiguous())
    for name, weight in _weights(module):
        if name in converted:
            _lay_out(weight, torch.channels_last)
    setattr(module, CONVERTED, converted)


def restore(module: nn.Module) -> None:
    """Lay out as before what was converted."""
    for name, weight in _weights(module):
        if name in getattr(module, CONVERTED, ()):
            _lay_out(weight, torch.contiguous_format)
    vars(module).pop(CONVERTED, None)


def _weights(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Those of convolutions, whatever their classes are called: LIA has its own."""
    parts = {name: getattr(part, "weight", None) for name, part in module.named_modules()}
    return [(name, weight) for name, weight in parts.items() if isinstance(weight, nn.Parameter) and weight.dim() == 4]


def _lay_out(weight: Tensor, memory_format: torch.memory_format) -> None:
    """The parameter stays the same object: optimizers hold it."""
    weight.data = weight.data.contiguous(memory_format=memory_format)
    if weight.grad is not None:
        weight.grad.data = weight.grad.data.contiguous(memory_format=memory_format)
