"""Peak memory of a call, beyond what it returns."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

from internet import ops
from internet.comparison.inputs import size_in_bytes

PROCESS = Path("/proc/self")


def extra_peak(function: Callable[[], object], device: torch.device) -> int | None:
    """The peak of the bytes in use during a call, minus those before it, minus the tensors it returns.

    On CUDA these are the bytes of torch's allocator, exactly. On the CPU they are the process's resident memory, which
    includes scratch that is not torch's (of kernels, math libraries) and what the C library's allocator has not
    returned yet; our operators' pool of outputs is emptied before. None where the system does not report it (Linux
    does).
    """
    function()
    if device.type == "cuda":
        return _cuda_peak(function)
    return _resident_peak(function)


def _cuda_peak(function: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    returned = function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before - size_in_bytes(returned)


def _resident_peak(function: Callable[[], object]) -> int | None:
    try:
        ops.clear_output_pool()  # freed but resident memory would hide what the call uses
        ctypes.CDLL(None).malloc_trim(0)
        before = _resident("VmRSS")
        (PROCESS / "clear_refs").write_text("5")  # resets the high-water mark
        returned = function()
        peak = _resident("VmHWM")
    except (OSError, AttributeError, KeyError):
        return None
    return max(0, peak - before - size_in_bytes(returned))


def _resident(entry: str) -> int:
    fields = dict(line.split(":", 1) for line in (PROCESS / "status").read_text().splitlines())
    return 1024 * int(fields[entry].split()[0])
