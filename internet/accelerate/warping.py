"""The warps of these models in terms of the operators."""

from torch import Tensor

from internet import ops


def warp(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    blend: Tensor | None = None,
    align_corners: bool = False,
) -> Tensor:
    """`confidence_warp` with field and confidence resized at once, all in one convention of coordinates."""
    return ops.confidence_warp(
        features,
        field,
        confidence,
        blend=blend,
        upsampling="interpolate",
        interpolate_align_corners=align_corners,
        align_corners=align_corners,
    )
