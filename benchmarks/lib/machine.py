"""A description of the machine."""

import os
import platform
from typing import Any

import torch

import internet
from internet.commands import info
from internet.utils.machine import processor


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, its load by other processes, instruction set of our kernels, versions: plain JSON types."""
    gathered = info.gather()
    return {
        "processor": processor(device),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "instruction set": gathered["cpu"]["instruction set"] or "none (not built)",
        "output pool": os.environ.get("INTERNET_OUTPUT_POOL_MB", "default"),
        "internet": internet.__version__,
        "backend": f"{device.type} {gathered['backends'][device.type]}",
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }
