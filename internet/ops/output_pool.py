"""The memory that CPU operators keep of freed outputs, for the next outputs of the same size."""

import torch

from internet.utils import library


def clear_output_pool() -> int:
    """Give the memory kept for coming outputs back to the system.

    The CPU operators keep up to ``INTERNET_OUTPUT_POOL_MB`` megabytes (512; 0 switches it off) of the large outputs
    that were freed, because fresh memory costs more time than computing what is written there. It has no
    effect on tensors in use. With torch 2.10, which cannot tell when memory is free, nothing is kept.

    What comes from this memory, outputs of 256 KiB and more, cannot be resized: ``resize_()`` to more elements, or of
    the storage, raises torch's "Trying to resize storage that is not resizable", as for a tensor from NumPy. Resize a
    ``clone()``, or set ``INTERNET_OUTPUT_POOL_MB=0`` before the process starts.

    Returns:
        How many bytes were given back.
    """
    return torch.ops.internet.clear_output_pool() if "_C" in library.loaded else 0
