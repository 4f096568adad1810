"""The speed of a copy: an upper bound for an operator that moves as many bytes."""

from collections.abc import Callable

import torch

from internet.comparison import timing


def copy_of(count: int, device: torch.device) -> Callable[[], object]:
    """A copy that moves `count` bytes in total, half of them read and half written, into memory that is already mapped.

    An operator's outputs are fresh memory, which the system has to provide first; the copy's target is not. So this is
    the bound for an operator that reuses memory.
    """
    source = torch.zeros(max(1, count // 8), device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def bytes_of_large_copy(device: torch.device) -> int:
    """More than any cache holds, and at most half of what is free on a GPU, which may be a small slice of one (MIG)."""
    if device.type != "cuda":
        return 256 << 20
    free, _ = torch.cuda.mem_get_info(device)
    return min(4 << 30, free // 2)


def peak_copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a large copy."""
    count = bytes_of_large_copy(device)
    return count / timing.interleaved({"copy": copy_of(count, device)}, device, seconds=0.5)["copy"].median
