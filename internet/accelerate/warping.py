"""The warps of these models, computed with the operators."""

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
    """`confidence_warp`, which also resizes field and confidence, with one convention of coordinates."""
    return ops.confidence_warp(
        features,
        field,
        confidence,
        blend=blend,
        upsampling="interpolate",
        interpolate_align_corners=align_corners,
        align_corners=align_corners,
    )
