"""Whether memory was written to, where torch does not count writes: through `.data`, or an array of numpy."""

import torch
from torch import Tensor

BLOCK = 256
"""How many values are summed. Summing a whole weight would not notice two of its rows that change places."""

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The type that has the bits of a value, by its size in bytes. In any other type, sums take twenty times as long."""


def checksums(tensor: Tensor) -> Tensor | None:
    """The bits of a tensor's values as integers: the sum of each block, and the rest as they are.

    Every write is noticed but one that keeps the sum of each block, modulo a power of two: one that only reorders
    values inside a block, in practice. None on other devices than the CPU, where the host would have to wait, and for
    a tensor without values.
    """
    if tensor.device.type != "cpu" or not tensor.numel():
        return None
    bits = _memory(tensor).view(INTEGERS.get(tensor.element_size(), torch.uint8))
    whole = len(bits) // BLOCK * BLOCK
    if not whole:
        return bits.clone()
    return torch.cat([bits[:whole].view(-1, BLOCK).sum(1, dtype=bits.dtype), bits[whole:]])


def _memory(tensor: Tensor) -> Tensor:
    """From the first value of a tensor to the last, in the order of addresses, and what lies between them."""
    span = 1 + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.detach().as_strided((span,), (1,))
