"""Eq. 6 at every level of a pyramid, one launch for each."""

from collections.abc import Sequence

from torch import Tensor

from internet.kernels.confidence_warp import Options, warp, warp_backward
from internet.kernels.registry import operator


def _of_level(tensors: Sequence[Tensor], level: int) -> Tensor | None:
    """The tensor for a level, from one for all, one for each, or none. One axis stands for None (csrc/schema.cpp)."""
    if not tensors:
        return None
    tensor = tensors[0 if len(tensors) == 1 else level]
    return None if tensor.dim() == 1 else tensor


@operator
def pyramid_warp(
    features: Sequence[Tensor],
    field: Tensor,
    confidence: Sequence[Tensor],
    blend: Sequence[Tensor],
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
) -> list[Tensor]:
    options = Options(upsampling, interpolate_align_corners, padding_mode, align_corners)
    return [
        warp(level, field, _of_level(confidence, i), _of_level(blend, i), options) for i, level in enumerate(features)
    ]


@operator
def pyramid_warp_backward(
    grad_outputs: Sequence[Tensor],
    features: Sequence[Tensor],
    field: Tensor,
    confidence: Sequence[Tensor],
    blend: Sequence[Tensor],
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
    need_features: Sequence[bool],
    need_motion: bool,
    need_blend: Sequence[bool],
    deterministic: bool,
) -> tuple[list[Tensor], Tensor, list[Tensor], list[Tensor]]:
    options = Options(upsampling, interpolate_align_corners, padding_mode, align_corners)
    found = []
    for i, (grad_output, level) in enumerate(zip(grad_outputs, features, strict=True)):
        inputs = (grad_output, level, field, _of_level(confidence, i), _of_level(blend, i), options)
        needed = (need_features[i], need_motion, bool(blend) and need_blend[i])
        found.append(warp_backward("pyramid_warp", *inputs, *needed, deterministic))
    grad_features, grad_fields, grad_confidences, grad_blends = (list(level) for level in zip(*found, strict=True))
    if len(confidence) == 1:
        grad_confidences = [_sum(grad_confidences)]
    return (
        grad_features,
        _sum(grad_fields),
        grad_confidences if confidence else [],
        grad_blends if blend else [],
    )


def _sum(gradients: list[Tensor]) -> Tensor:
    """Their sum, in the order of the levels."""
    total = gradients[0]
    for gradient in gradients[1:]:
        total = total + gradient
    return total
