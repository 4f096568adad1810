"""The warps of these models in terms of the operators: a field of another size than the features is resized at once."""

import torch.nn.functional as F
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
    """Features sampled at a field, times a confidence, plus what is blended in where the confidence is low.

    The field (B, h, w, 2) and the confidence (B, 1, h', w') are each resized to the features' size by
    ``F.interpolate(mode="bilinear", align_corners=align_corners)``.
    """
    size = features.shape[2:]
    if field.shape[1:3] != size:
        field = F.interpolate(field.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=align_corners).permute(
            0, 2, 3, 1
        )
    if confidence is not None and confidence.shape[2:] != size:
        confidence = F.interpolate(confidence, size, mode="bilinear", align_corners=align_corners)
    out = ops.confidence_warp(features, field, confidence, align_corners=align_corners)
    if blend is not None and confidence is not None:
        out = out + blend * (1 - confidence)
    return out
