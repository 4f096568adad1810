"""Eq. 6 at every level of a pyramid: a launch for each."""

from collections.abc import Sequence

from torch import Tensor

from internet.kernels.confidence_warp import warp, warp_backward
from internet.kernels.registry import operator
from internet.ops.results import empty


@operator
def pyramid_warp(
    features: Sequence[Tensor], field: Tensor, confidence: Tensor | None, padding_mode: str, align_corners: bool
) -> list[Tensor]:
    return [warp(level, field, confidence, padding_mode, align_corners) for level in features]


@operator
def pyramid_warp_backward(
    grad_outputs: Sequence[Tensor],
    features: Sequence[Tensor],
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_features: Sequence[bool],
    need_motion: bool,
    deterministic: bool,
) -> tuple[list[Tensor], Tensor, Tensor]:
    grad_features, grad_fields, grad_confidences = [], [], []
    for grad_output, level, need in zip(grad_outputs, features, need_features, strict=True):
        inputs = (grad_output, level, field, confidence, padding_mode, align_corners)
        found = warp_backward("pyramid_warp", *inputs, need, need_motion, deterministic)
        grad_features.append(found[0])
        grad_fields.append(found[1])
        grad_confidences.append(found[2])
    return grad_features, _sum(grad_fields, empty(field)), _sum(grad_confidences, empty(field))


def _sum(gradients: list[Tensor], nothing: Tensor) -> Tensor:
    """Their sum, in the order of the levels."""
    total = gradients[0] if gradients else nothing
    for gradient in gradients[1:]:
        total = total + gradient
    return total
