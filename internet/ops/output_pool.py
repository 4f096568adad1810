"""Memory of freed outputs that the CPU operators keep for the next outputs of the same size."""

import torch

from internet.utils import library


def clear_output_pool() -> int:
    """Return the memory that is kept for future outputs to the system.

    The CPU operators keep up to ``INTERNET_OUTPUT_POOL_MB`` megabytes (512 by default; 0 switches it off) of large
    outputs that were freed, because mapping fresh memory takes longer than computing what is written there. Clearing
    the pool does not affect tensors in use. With torch 2.10, which cannot tell when memory is free, nothing is kept.

    Outputs of 256 KiB and more, which use this memory, cannot be resized: ``resize_()`` to more elements, or of the
    storage, raises torch's "Trying to resize storage that is not resizable", as for a tensor from NumPy. Resize a
    ``clone()``, or set ``INTERNET_OUTPUT_POOL_MB=0`` before the process starts.

    Returns:
        The number of bytes returned.
    """
    return torch.ops.internet.clear_output_pool() if "_C" in library.loaded else 0
