"""Eq. 6 at one level: features warped by a motion field and gated by its confidence."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty

PADDING_MODES = ("zeros", "border")


def confidence_warp(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    r"""Warp features by a motion field and multiply by its confidence (Eq. 6 of arXiv 2012.06134).

    .. math:: \phi^{out}(z) = M^i(z) \cdot \phi^{in}(F^i(z))

    bilinearly sampled, where :math:`F^i, M^i` are `field` and `confidence` after i progressive 2x steps
    (:func:`upsample_motion`) and :math:`2^i` is the ratio of the features' size to the field's. Neither the
    upsampled maps nor the warped, ungated tensor are stored, forward or backward. Coordinates and values that are
    not finite: docs/conventions.md.

    Args:
        features: (B, C, h*2^i, w*2^i), any floating dtype and strides.
        field: (B, h, w, 2) motion field, normalised coordinates.
        confidence: (B, 1, h, w) multiplier, or None for 1.
        padding_mode: what lies outside the features: "zeros" or "border" (the nearest pixel inside).
        align_corners: the convention of the coordinates in `field`, as in ``grid_sample``. True needs features of the
            size of the field: the 2x steps are those of False, and would shift what True means.

    Returns:
        (B, C, h*2^i, w*2^i) in the dtype and memory format of `features`. Differentiable in every tensor.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit, the ratio is not a power of two or differs between the axes, `align_corners`
            is True with a ratio over 1, or `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    name = "confidence_warp"
    _checks.floating_tensor(name, "features", features, "B", "C", "H", "W")
    field, confidence = _checks.motion(name, "features", features, field, confidence, align_corners)
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    namespace = namespace_for(name, features.device)
    if namespace is None:
        return reference.confidence_warp(
            features, field, confidence, padding_mode=padding_mode, align_corners=align_corners
        )
    warped: Tensor = apply(_ConfidenceWarp, namespace, features, field, confidence, padding_mode, align_corners)
    return warped


class _ConfidenceWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.namespace, *tensors, ctx.padding_mode, ctx.align_corners = arguments
        ctx.save_for_backward(*tensors)
        return overload(ctx.namespace, "confidence_warp")(*arguments[1:])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:4]
        gradients = overload(ctx.namespace, "confidence_warp_backward")(
            grad_output,
            *inputs,
            ctx.padding_mode,
            ctx.align_corners,
            needed[0],
            any(needed[1:]),
            torch.are_deterministic_algorithms_enabled(),
        )
        return (None, *first_order("confidence_warp", gradients, needed, (grad_output, *inputs)), None, None)


@register_fake("confidence_warp")
def _fake(features: Tensor, *_: Any) -> Tensor:
    return dense_like(features)


@register_fake("confidence_warp_backward")
def _fake_backward(
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    padding_mode: str,
    align_corners: bool,
    need_features: bool,
    need_motion: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        dense_like(features) if need_features else empty(features),
        like_or_empty(field, need_motion),
        empty(field) if confidence is None else like_or_empty(confidence, need_motion),
    )
