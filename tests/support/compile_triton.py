"""Compiles every Triton kernel for a GPU that need not be present, and reports the resources it takes.

    python -m tests.support.compile_triton RESULTS.json cuda 90 32
    python -m tests.support.compile_triton RESULTS.json hip gfx942 64

calls the operators on `meta` tensors at the shapes of the paper. Triton sees a driver without a device: kernels are
compiled for the types, strides and divisors of the real call, in each configuration that tuning would try, and none
is launched.
"""

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import autotuner, driver, jit

import internet.kernels as kernels

LAYOUTS = {
    "contiguous": {4: torch.contiguous_format, 5: torch.contiguous_format},
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
}
CASES = ((torch.float32, "contiguous"), (torch.bfloat16, "channels_last"))
K = 10
"""Anchors, as in the paper; the base size is 128 at frames of 512."""


class NoDevice:
    """The parts of a driver that Triton uses before a launch."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")


def meta(*shape: int, dtype: torch.dtype = torch.float32, layout: str = "contiguous") -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=LAYOUTS[layout].get(len(shape)))


def _anchors() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return meta(1, K, 2), meta(1, K, 2), meta(1, K, 2, 2), meta(1, K, 2, 2)


def affine_mixture(dtype: torch.dtype, layout: str) -> None:
    logits = meta(1, K + 1, 128, 128, dtype=dtype, layout=layout)
    for threshold in (0.0, 0.02):
        kernels.affine_mixture.affine_mixture(logits, *_anchors(), None, threshold, False)
        inputs = (meta(1, 128, 128, 2), logits, *_anchors())
        kernels.affine_mixture.affine_mixture_backward(*inputs, None, threshold, False, True, True)
    # articulated-animation's background, and the volumes of LivePortrait
    background = meta(1, 3, 3)
    kernels.affine_mixture.affine_mixture(logits, *_anchors(), background, 0.0, False)
    inputs = (meta(1, 128, 128, 2), logits, *_anchors())
    kernels.affine_mixture.affine_mixture_backward(*inputs, background, 0.0, False, True, True)
    logits = meta(1, 22, 16, 64, 64, dtype=dtype, layout=layout)
    points = (logits, meta(1, 21, 3), meta(1, 21, 3), None, None, None)
    kernels.affine_mixture.affine_mixture(*points, 0.0, False)
    kernels.affine_mixture.affine_mixture_backward(meta(1, 16, 64, 64, 3), *points, 0.0, False, True, True)


def upsample_motion(dtype: torch.dtype, layout: str) -> None:
    kernels.upsample_motion.upsample_motion(meta(1, 128, 128, 2), meta(1, 1, 128, 128))
    kernels.upsample_motion.upsample_motion_backward(meta(1, 256, 256, 2), meta(1, 1, 256, 256))


def confidence_warp(dtype: torch.dtype, layout: str) -> None:
    motion = (meta(1, 128, 128, 2), meta(1, 1, 128, 128))
    for channels, size, blended, upsampling in (
        (256, 128, False, "progressive"),
        (64, 512, False, "progressive"),
        (64, 512, True, "interpolate"),
    ):
        features = meta(1, channels, size, size, dtype=dtype, layout=layout)
        inputs = (features, *motion, features if blended else None, upsampling, False, "zeros", False)
        kernels.confidence_warp.confidence_warp(*inputs)
        kernels.confidence_warp.confidence_warp_backward(features, *inputs, True, True, blended, False)


def volume_warp(dtype: torch.dtype, layout: str) -> None:
    """At the sizes of LivePortrait."""
    volume = meta(1, 32, 16, 64, 64, dtype=dtype, layout=layout)
    motion = (meta(1, 16, 64, 64, 3), meta(1, 1, 16, 64, 64), "zeros", False)
    kernels.volume_warp.volume_warp(volume, *motion)
    kernels.volume_warp.volume_warp_backward(volume, volume, *motion, True, True, False)


def masked_backwarp_loss(dtype: torch.dtype, layout: str) -> None:
    frame = meta(1, 3, 512, 512, dtype=dtype, layout=layout)
    motion = (meta(1, 2, 512, 512), meta(1, 1, 128, 128))
    for norm, padding in (("l1", "border"), ("charbonnier", "valid")):
        words = (norm, "mean", padding)
        kernels.masked_backwarp_loss.masked_backwarp_loss(frame, frame, *motion, *words)
        needed = (True, True, True, False)
        kernels.masked_backwarp_loss.masked_backwarp_loss_backward(meta(), frame, frame, *motion, *words, *needed)


def flow_confidence(dtype: torch.dtype, layout: str) -> None:
    flow = meta(1, 2, 512, 512, dtype=dtype, layout=layout)
    kernels.flow_confidence.flow_confidence(flow, flow, 0.01, 0.5, True, 0.01, 0.002)


def soft_argmax(dtype: torch.dtype, layout: str) -> None:
    logits = meta(1, K, 128, 128, dtype=dtype, layout=layout)
    for maps in (1, K):
        jacobian_map = meta(1, maps, 4, 128, 128, dtype=dtype)
        results = kernels.soft_argmax.soft_argmax(logits, jacobian_map, 0.1, True, False)
        incoming = (meta(1, K, 2), meta(1, K, 2, 2), meta(1, K, 2, 2))
        kernels.soft_argmax.soft_argmax_backward(*incoming, logits, jacobian_map, *results, 0.1, False, True, True)
    volumes = meta(1, 21, 16, 64, 64, dtype=dtype, layout=layout)  # LivePortrait's
    results = kernels.soft_argmax.soft_argmax(volumes, None, 0.1, True, False)
    incoming = (meta(1, 21, 3), None, meta(1, 21, 3, 3))
    kernels.soft_argmax.soft_argmax_backward(*incoming, volumes, None, *results, 0.1, False, True, False)


def anchor_features(dtype: torch.dtype, layout: str) -> None:
    """For an image; and for LivePortrait's volume, with all optional arguments."""
    source = meta(1, 3, 128, 128, dtype=dtype, layout=layout)
    volume = meta(1, 4, 16, 64, 64, dtype=dtype, layout=layout)
    points, matrices = (meta(1, K, 3) for _ in range(2)), [meta(1, K, 3, 3) for _ in range(4)]
    for inputs in (
        (source, *_anchors(), None, None, None),
        (volume, *points, *matrices[:2], meta(1, 4, 4), *matrices[2:]),
    ):
        features = kernels.anchor_features.anchor_features(*inputs, 0.01, False, False)
        kernels.anchor_features.anchor_features_backward(features, *inputs, 0.01, False, False, True, True, False)


OPERATORS: tuple[Callable[[torch.dtype, str], None], ...] = (
    affine_mixture,
    upsample_motion,
    confidence_warp,
    volume_warp,
    masked_backwarp_loss,
    flow_confidence,
    soft_argmax,
    anchor_features,
)


def _resources(compiled: Any, target: GPUTarget) -> dict[str, int]:
    """Registers per thread, and bytes of its stack and local memory, to which registers are spilled."""
    if target.backend == "hip":
        text = compiled.asm["amdgcn"]
        found = {
            "registers": re.search(r"\.vgpr_count:\s+(\d+)", text),
            "spills": re.search(r"\.vgpr_spill_count:\s+(\d+)", text),
        }
        return {name: int(match[1]) for name, match in found.items() if match}
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(compiled.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        command = [str(tool), "--dump-resource-usage", str(cubin)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = {name: int(re.findall(rf"\b{name}:(\d+)", text)[-1]) for name in ("REG", "STACK", "LOCAL")}
    return {"registers": used["REG"], "spills": used["STACK"] + used["LOCAL"]}


def compile_all(target: GPUTarget) -> dict[str, dict[str, int]]:
    """The largest resources of the machine code, by kernel, case and configuration."""
    found: dict[str, dict[str, int]] = {}
    case = ""
    compile_and_launch = jit.JITFunction.run

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        compiled = compile_and_launch(self, *args, grid=grid, warmup=True, **kwargs)
        if hasattr(compiled, "result"):
            compiled = compiled.result()
        blocks = ", ".join(f"{name} {kwargs[name]}" for name in ("BLOCK", "TILE") if name in kwargs)
        stem = self.fn.__module__.split(".")[-1]
        name = f"{stem}.{self.fn.__name__}, {case}, {blocks}"
        before, now = found.get(name, {}), _resources(compiled, target)
        found[name] = {what: max(count, before.get(what, 0)) for what, count in now.items()}

    def every_configuration(self: Any, *args: Any, **kwargs: Any) -> None:
        for configuration in self.configs:
            self.fn.run(*args, **kwargs, **configuration.all_kwargs())

    driver.set_active(NoDevice(target))
    jit.JITFunction.run = compile_only
    autotuner.Autotuner.run = every_configuration
    for operator, (dtype, layout) in itertools.product(OPERATORS, CASES):
        case = f"{str(dtype)[6:]}, {layout}"
        operator(dtype, layout)
    return found


def main(results: str, backend: str, architecture: str, lanes: str) -> None:
    """Write the results of `compile_all` as JSON."""
    arch = int(architecture) if architecture.isdigit() else architecture
    Path(results).write_text(json.dumps(compile_all(GPUTarget(backend, arch, int(lanes))), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
