"""What is measured: the operators at named shapes, layouts and dtypes.

Layout and dtype are those of the data (logits, features, frames); coordinates are float32, or float64 with float64
data, as under autocast. Flows are smooth, like those of a network or a flow method: neighbouring output pixels read
neighbouring input pixels.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from internet.comparison.case import Case, Function
from internet.comparison.inputs import ANCHORS, Inputs, Maker

PYRAMID = {1: 256, 2: 128, 4: 64}
"""Channels of the paper's feature maps, by the ratio of their size to the motion field's."""

VOLUME_CHANNELS = 32
"""Channels of the appearance volume of LivePortrait and face-vid2vid."""
COMPRESSED_CHANNELS, VOLUME_ANCHORS = 4, 21
"""Channels of that volume as input of LivePortrait's dense-motion network, and its number of anchors."""

ANCHOR_NAMES = ("kp_source", "kp_driving", "jac_source", "jac_driving")
MOTION_NAMES = ("field", "confidence")


@dataclass(frozen=True)
class Workload:
    """One operator on inputs of one shape, layout and dtype."""

    operator: str
    shape: str
    make: Callable[[Maker], Inputs] = field(repr=False)
    trained: tuple[str, ...]
    """The inputs whose gradients training needs."""
    layout: str = "contiguous"
    dtype: torch.dtype = torch.float32
    motion: str = "smooth"
    """One of `internet.comparison.inputs.MOTIONS`."""

    def __str__(self) -> str:
        shape = ",".join(self.shape.replace(",", " ").split()).replace("²", "")
        return f"{self.operator}-{shape}-{self.layout}-{str(self.dtype).removeprefix('torch.')}"

    def case(self, device: torch.device, function: Function) -> "Case":
        """The tensors, with outputs in the shapes that `function` returns."""
        return Case(self.make(Maker(self.dtype, self.layout, device, self.motion)), self.trained, function)


def affine_mixture(batch: int, size: int, **options: Any) -> Workload:
    """Eq. 5 at the base size, with Jacobians."""

    def make(maker: Maker) -> Inputs:
        return {"logits": maker.data(batch, ANCHORS + 1, size, size), **maker.anchors(batch)}

    shape = f"B={batch} K={ANCHORS} {size}²"
    return Workload("affine_mixture", shape, make, ("logits", *ANCHOR_NAMES), **options)


def affine_mixture_of_volume(batch: int, size: int, **options: Any) -> Workload:
    """LivePortrait's mask and sparse motions, with a quarter as many slices as rows; no Jacobians."""
    depth = max(size // 4, 1)

    def make(maker: Maker) -> Inputs:
        logits = maker.data(batch, VOLUME_ANCHORS + 1, depth, size, size)
        return {"logits": logits, **maker.points(batch, VOLUME_ANCHORS, 3)}

    shape = f"B={batch} K={VOLUME_ANCHORS} {depth}×{size}²"
    return Workload("affine_mixture", shape, make, ("logits", *ANCHOR_NAMES[:2]), **options)


def upsample_motion(batch: int, size: int, **options: Any) -> Workload:
    """One progressive step from `size`."""

    def make(maker: Maker) -> Inputs:
        return {"field": maker.motion_field(batch, size), "confidence": maker.confidence(batch, size)}

    return Workload("upsample_motion", f"B={batch} {size}²", make, MOTION_NAMES, **options)


def confidence_warp(
    batch: int, size: int, ratio: int = 1, *, interpolated: bool = False, blended: bool = False, **options: Any
) -> Workload:
    """Eq. 6 at one level: features `ratio` times the size of the field."""
    channels, fine = PYRAMID[ratio], ratio * size

    def make(maker: Maker) -> Inputs:
        inputs: Inputs = {
            "features": maker.data(batch, channels, fine, fine),
            "field": maker.motion_field(batch, size),
            "confidence": maker.confidence(batch, size),
        }
        if blended:
            inputs["blend"] = maker.data(batch, channels, fine, fine)
        if interpolated:
            inputs["upsampling"] = "interpolate"
        return inputs

    extras = ", ".join(itertools.compress(("interpolated", "blended"), (interpolated, blended)))
    trained = ("features", *MOTION_NAMES, "blend")[: 4 if blended else 3]
    return Workload("confidence_warp", f"B={batch} {channels}@{fine}² {extras}".strip(), make, trained, **options)


def skip_warp(batch: int, size: int, **options: Any) -> Workload:
    """Articulated-animation's last skip connection: four times the size of the field, over the decoder's features."""
    return confidence_warp(batch, size, 4, interpolated=True, blended=True, **options)


def pyramid_warp(batch: int, size: int, **options: Any) -> Workload:
    """Eq. 6 at the three levels of the paper, from the base size up."""

    def make(maker: Maker) -> Inputs:
        return {
            "features": [maker.data(batch, c, ratio * size, ratio * size) for ratio, c in PYRAMID.items()],
            "field": maker.motion_field(batch, size),
            "confidence": maker.confidence(batch, size),
        }

    shape = f"B={batch} " + "+".join(f"{c}@{ratio * size}²" for ratio, c in PYRAMID.items())
    return Workload("pyramid_warp", shape, make, ("features", *MOTION_NAMES), **options)


def volume_warp(batch: int, size: int, **options: Any) -> Workload:
    """LivePortrait's appearance volume, with a quarter as many slices as rows."""
    depth = max(size // 4, 1)

    def make(maker: Maker) -> Inputs:
        return {
            "volume": maker.data(batch, VOLUME_CHANNELS, depth, size, size),
            "field": maker.motion_field(batch, size, depth),
            "confidence": maker.confidence(batch, size, depth),
        }

    shape = f"B={batch} {VOLUME_CHANNELS}@{depth}×{size}²"
    return Workload("volume_warp", shape, make, ("volume", *MOTION_NAMES), **options)


def masked_backwarp_loss(batch: int, size: int, **options: Any) -> Workload:
    """Eq. 4 on frames of `size`, with the mask at a quarter of it; target and flow take no gradient."""

    def make(maker: Maker) -> Inputs:
        return {
            "output": maker.data(batch, 3, size, size),
            "target": maker.data(batch, 3, size, size),
            "flow": maker.optical_flow(batch, size),
            "confidence": maker.confidence(batch, size // 4),
        }

    shape = f"B={batch} 3@{size}² mask {size // 4}²"
    return Workload("masked_backwarp_loss", shape, make, ("output", "confidence"), **options)


def flow_confidence(batch: int, size: int, **options: Any) -> Workload:
    """Eq. 3's mask; it has no gradient."""

    def make(maker: Maker) -> Inputs:
        forward = maker.optical_flow(batch, size)
        return {"flow_forward": forward, "flow_backward": -forward + 0.1 * maker.optical_flow(batch, size)}

    return Workload("flow_confidence", f"B={batch} {size}²", make, (), **options)


def soft_argmax(batch: int, size: int, **options: Any) -> Workload:
    """Anchors and Jacobians from heat maps at the base size."""

    def make(maker: Maker) -> Inputs:
        maps = maker.data(batch, 4 * ANCHORS, size, size).unflatten(1, (ANCHORS, 4))
        return {"logits": maker.data(batch, ANCHORS, size, size), "jacobian_map": maps}

    return Workload("soft_argmax", f"B={batch} K={ANCHORS} {size}²", make, ("logits", "jacobian_map"), **options)


def soft_argmax_of_volume(batch: int, size: int, **options: Any) -> Workload:
    """LivePortrait's 21 key points from heat maps over a volume, with a quarter as many slices as rows."""
    depth = max(size // 4, 1)

    def make(maker: Maker) -> Inputs:
        return {"logits": maker.data(batch, VOLUME_ANCHORS, depth, size, size)}

    return Workload("soft_argmax", f"B={batch} K={VOLUME_ANCHORS} {depth}×{size}²", make, ("logits",), **options)


def anchor_features(batch: int, size: int, **options: Any) -> Workload:
    """The dense-motion network's input at the base size; the source frame takes no gradient."""

    def make(maker: Maker) -> Inputs:
        return {"source": maker.data(batch, 3, size, size), **maker.anchors(batch)}

    return Workload("anchor_features", f"B={batch} K={ANCHORS} C=3 {size}²", make, ANCHOR_NAMES, **options)


def anchor_features_of_volume(batch: int, size: int, **options: Any) -> Workload:
    """LivePortrait's: its compressed appearance volume, with a quarter as many slices as rows; no Jacobians."""
    depth = max(size // 4, 1)

    def make(maker: Maker) -> Inputs:
        source = maker.data(batch, COMPRESSED_CHANNELS, depth, size, size)
        return {"source": source, **maker.points(batch, VOLUME_ANCHORS, 3)}

    shape = f"B={batch} K={VOLUME_ANCHORS} C={COMPRESSED_CHANNELS} {depth}×{size}²"
    return Workload("anchor_features", shape, make, ("source", *ANCHOR_NAMES[:2]), **options)


def dense_motion(batch: int, size: int, *, noise: bool = False, **options: Any) -> Workload:
    """LivePortrait's whole part: `internet.comparison.dense_motion`, which is three operators.

    The mixture is smooth, and the key points move little from frame to frame; with `noise` both are random, and so is
    the field.
    """
    depth = max(size // 4, 1)
    anchored = anchor_features_of_volume(batch, size)

    def make(maker: Maker) -> Inputs:
        made = anchored.make(maker)
        made["volume"] = maker.data(batch, VOLUME_CHANNELS, depth, size, size)
        if noise:
            return made | {"logits": maker.data(batch, VOLUME_ANCHORS + 1, depth, size, size)}
        made["kp_driving"] = made["kp_source"] + 0.1 * made["kp_driving"]
        return made | {"logits": maker.smooth_data(batch, VOLUME_ANCHORS + 1, depth, size, size)}

    shape = f"{anchored.shape} and {VOLUME_CHANNELS}" + (", noise" if noise else "")
    return Workload("dense_motion", shape, make, (*anchored.trained, "volume", "logits"), **options)


EVERY: tuple[Callable[..., Workload], ...] = (
    affine_mixture,
    upsample_motion,
    confidence_warp,
    skip_warp,
    pyramid_warp,
    volume_warp,
    masked_backwarp_loss,
    flow_confidence,
    soft_argmax,
    anchor_features,
)
"""A function for each operator, which takes a batch, a size and the options of a workload."""
