"""Clocks, power and energy of an NVIDIA GPU, through nvidia-ml-py."""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

LONG_ENOUGH = 1.0
"""Seconds of a measurement: the energy counter is updated only a few times a second."""


class NotAvailable(RuntimeError):  # noqa: N818 (not an error)
    """No NVIDIA GPU, driver or nvidia-ml-py; the message says which."""


@dataclass(frozen=True)
class Reading:
    """The GPU's readings during a measurement."""

    joules_per_call: float
    watts: float
    sm_clock_mhz: int
    memory_clock_mhz: int
    throttled: bool
    """The clocks were limited by temperature or power."""


def _nvml() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        raise NotAvailable("not available: nvidia-ml-py is not installed") from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NotAvailable(f"not available: {error}") from None
    return nvml


def _handle(nvml: Any, device: torch.device) -> Any:
    if device.type != "cuda" or not torch.cuda.is_available():
        raise NotAvailable(f"not available: torch has no NVIDIA GPU as {device}")
    return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def measure(function: Callable[[], object], device: torch.device) -> Reading:
    """Call `function` for about a second, and read energy and clocks.

    Raises:
        NotAvailable: there is nothing to read; the message says why.
    """
    nvml = _nvml()
    try:
        return _measure(function, nvml, _handle(nvml, device))
    except nvml.NVMLError as error:  # an old GPU has no energy counter, and a slice of a GPU (MIG) no readings at all
        raise NotAvailable(f"not available: {error}") from None


def _measure(function: Callable[[], object], nvml: Any, handle: Any) -> Reading:
    function()
    torch.cuda.synchronize()
    before, start, calls = nvml.nvmlDeviceGetTotalEnergyConsumption(handle), time.perf_counter(), 0
    while time.perf_counter() - start < LONG_ENOUGH:
        function()
        torch.cuda.synchronize()
        calls += 1
    sm_clock, memory_clock = (nvml.nvmlDeviceGetClockInfo(handle, k) for k in (nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM))
    reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    seconds = time.perf_counter() - start
    joules = (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before) / 1e3
    held_down = (
        nvml.nvmlClocksEventReasonSwPowerCap
        | nvml.nvmlClocksEventReasonHwSlowdown
        | nvml.nvmlClocksEventReasonSwThermalSlowdown
    )
    return Reading(joules / calls, joules / seconds, sm_clock, memory_clock, bool(reasons & held_down))
