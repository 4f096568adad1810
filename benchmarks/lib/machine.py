"""What a figure was measured on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

import internet
from internet.commands import info


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, how busy others keep it, instruction set of our kernels, versions: plain JSON types."""
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


def processor(device: torch.device) -> str:
    """The model of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
