"""The fused operators beside the eager formulations, at the sizes of the paper's model."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from internet import ops
from internet.comparison import eager
from internet.comparison.timing import interleaved
from internet.geometry import identity_field

#: K anchors; sides of the motion field and of the frame; channels of the feature pyramid by its levels' sides.
ANCHORS, BASE, FRAME = 10, 128, 512
CHANNELS = {128: 256, 256: 128, 512: 64}
#: Samples at once; the warped pyramid of one is 134 MB already.
BATCH = 4

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """An operator with its inputs, float32 and contiguous, and the inputs whose gradients training asks for."""

    operator: str
    shape: str
    inputs: Inputs
    trained: tuple[str, ...]


@dataclass(frozen=True)
class OperatorSpeed:
    """Median seconds of an operator, fused and eager, forward alone and with the backward pass.

    ``disagreement`` is the largest difference between both results, relative to the largest value.
    """

    operator: str
    shape: str
    forward: tuple[float, float]
    both: tuple[float, float]
    disagreement: float

    @property
    def forward_ratio(self) -> float:
        """How many times faster the fused operator is, forward."""
        return self.forward[1] / self.forward[0]

    @property
    def both_ratio(self) -> float:
        """How many times faster it is forward and backward together."""
        return self.both[1] / self.both[0]


def workloads(device: torch.device) -> Iterator[Workload]:
    """The five operators that INTERnet spends its memory traffic in, on random inputs, the same every time.

    Flows and fields are smooth, as a network's are: what is a pixel apart in the output reads about a pixel apart.
    """
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    def smooth(batch: int, size: int) -> Tensor:
        return F.interpolate(normal(batch, 2, 5, 5), size=(size, size), mode="bicubic", align_corners=True)

    def field(batch: int) -> Tensor:
        return identity_field(BASE, BASE, device) + 0.1 * smooth(batch, BASE).permute(0, 2, 3, 1).contiguous()

    def anchors() -> Inputs:
        points = {name: 0.4 * normal(BATCH, ANCHORS, 2) for name in ("kp_source", "kp_driving")}
        eye = torch.eye(2, device=device)
        return points | {n: eye + 0.1 * normal(BATCH, ANCHORS, 2, 2) for n in ("jac_source", "jac_driving")}

    motion = f"B={BATCH}, K={ANCHORS}, {BASE}²"
    points = anchors()
    logits = {"logits": normal(BATCH, ANCHORS + 1, BASE, BASE)}
    yield Workload("affine_mixture", motion, logits | points, ("logits", *points))

    features = [normal(1, channels, side, side) for side, channels in CHANNELS.items()]
    pyramid = {"features": features, "field": field(1), "confidence": torch.rand_like(features[0][:, :1])}
    levels = " + ".join(f"{channels}×{side}²" for side, channels in CHANNELS.items())
    yield Workload("pyramid_warp", f"B=1, {levels}", pyramid, tuple(pyramid))

    frames = {name: normal(BATCH, 3, FRAME, FRAME) for name in ("output", "target")}
    frames |= {"flow": 4 * smooth(BATCH, FRAME), "confidence": torch.rand_like(frames["output"][:, :1, ::4, ::4])}
    yield Workload("masked_backwarp_loss", f"B={BATCH}, 3×{FRAME}²", frames, ("output", "confidence"))

    source = {"source": normal(BATCH, 3, BASE, BASE)}
    yield Workload("anchor_features", motion, source | points, tuple(points))

    maps = normal(BATCH, ANCHORS, 5, BASE, BASE)
    heat_maps = {"logits": maps[:, :, 0].contiguous(), "jacobian_map": maps[:, :, 1:].contiguous()}
    yield Workload("soft_argmax", motion, heat_maps, tuple(heat_maps))


def measure(workload: Workload, device: torch.device, seconds: float) -> OperatorSpeed:
    """Time one operator, fused and eager in turn, for so many seconds."""
    sides = {"fused": getattr(ops, workload.operator), "eager": getattr(eager, workload.operator)}
    forward = {name: _forward(function, workload) for name, function in sides.items()}
    both = {name: _forward_and_backward(function, workload) for name, function in sides.items()}
    fused, theirs = (_tensors(run()) for run in forward.values())
    disagreement = max(_difference(a, b) for a, b in zip(fused, theirs, strict=True))
    alone, together = (_medians(interleaved(runs, device, seconds / 2)) for runs in (forward, both))
    return OperatorSpeed(workload.operator, workload.shape, alone, together, disagreement)


def _medians(samples: Mapping[str, list[float]]) -> tuple[float, float]:
    return statistics.median(samples["fused"]), statistics.median(samples["eager"])


def _forward(function: Callable[..., Any], workload: Workload) -> Callable[[], Any]:
    def run() -> Any:
        with torch.no_grad():
            return function(**workload.inputs)

    return run


def _forward_and_backward(function: Callable[..., Any], workload: Workload) -> Callable[[], Any]:
    inputs = {name: _leaf(value) if name in workload.trained else value for name, value in workload.inputs.items()}
    leaves = [leaf for name in workload.trained for leaf in _tensors(inputs[name])]
    with torch.no_grad():
        grads = [torch.ones_like(output) for output in _tensors(function(**workload.inputs))]

    def run() -> Any:
        return torch.autograd.grad(_tensors(function(**inputs)), leaves, grads)

    return run


def _leaf(value: Any) -> Any:
    if isinstance(value, list):
        return [_leaf(item) for item in value]
    return value.detach().requires_grad_()


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())
