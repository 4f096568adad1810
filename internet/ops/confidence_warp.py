"""Eq. 6 at one level: features warped by a motion field and gated by its confidence."""

from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops._signature import once_a_signature
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty

PADDING_MODES = ("zeros", "border")


def confidence_warp(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    blend: Tensor | None = None,
    upsampling: str = "progressive",
    interpolate_align_corners: bool = False,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    r"""Warp features by a motion field and multiply by its confidence (Eq. 6 of arXiv 2012.06134).

    .. math:: \phi^{out}(z) = M(z) \cdot \phi^{in}(F(z)) + (1 - M(z)) \cdot b(z)

    bilinearly sampled, where :math:`F, M` are `field` and `confidence` at the size of the features, and :math:`b` is
    `blend`, 0 if there is none. Neither the upsampled maps nor the warped, ungated tensor are stored, forward or
    backward. Coordinates and values that are not finite: docs/conventions.md.

    Args:
        features: (B, C, H, W), any floating dtype and strides.
        field: (B, h, w, 2) motion field, normalised coordinates.
        confidence: (B, 1, h', w') multiplier, or None for 1. Its size is usually that of the field, but need not be.
        blend: (B, C, H, W), what to show where the confidence is low, converted to the dtype of `features`; or None.
            Requires a confidence.
        upsampling: how field and confidence are resized to H x W. "progressive", as in the paper: by repeated 2x steps
            (:func:`upsample_motion`), so that H x W must be the size of the map times 1, 2, 4, ... "interpolate", as in
            other models: by one ``torch.nn.functional.interpolate(mode="bilinear")``, without antialiasing, from any
            size, larger ones too. The two differ from a ratio of 4 on.
        interpolate_align_corners: the `align_corners` of that interpolation.
        padding_mode: what lies outside the features: "zeros" or "border" (the nearest pixel inside).
        align_corners: the convention of the coordinates in `field`, as in ``grid_sample``. True requires a field and a
            confidence of the size of the features, or interpolation: the 2x steps follow the convention of False, so
            they would shift the coordinates of True.

    Returns:
        (B, C, H, W) in the dtype and memory format of `features`. Differentiable with respect to every tensor.

    Raises:
        TypeError: an argument is not a floating-point tensor, or float64 is mixed with other dtypes.
        ValueError: a shape does not fit; with progressive steps, a ratio is not a power of two or differs between the
            axes, or `align_corners` is True with a ratio over 1; `interpolate_align_corners` without interpolation;
            `blend` without a confidence; or `upsampling` or `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    features, field, confidence, blend, *options = _checked(
        features, field, confidence, blend, upsampling, interpolate_align_corners, padding_mode, align_corners
    )
    namespace = namespace_for("confidence_warp", features.device)
    if namespace is None:
        return reference.confidence_warp(
            features,
            field,
            confidence,
            blend=blend,
            upsampling=upsampling,
            interpolate_align_corners=interpolate_align_corners,
            padding_mode=padding_mode,
            align_corners=align_corners,
        )
    warped: Tensor = apply(_ConfidenceWarp, namespace, features, field, confidence, blend, *options)
    return warped


@once_a_signature
def _checked(
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    blend: Tensor | None,
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
) -> tuple[Any, ...]:
    name = "confidence_warp"
    resizing = _checks.Upsampling(name, upsampling, interpolate_align_corners, align_corners)
    resizing.check()
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    _checks.floating_tensor(name, "features", features, "B", "C", "H", "W")
    field, confidence = _checks.motion(name, "features", features, field, confidence, resizing)
    blend = _checks.blend(name, "blend", blend, "features", features, confidence)
    return features, field, confidence, blend, upsampling, interpolate_align_corners, padding_mode, align_corners


class _ConfidenceWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.namespace, *tensors = arguments[:5]
        ctx.options = arguments[5:]
        ctx.save_for_backward(*tensors)
        return overload(ctx.namespace, "confidence_warp")(*arguments[1:])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:5]
        need_features, *need_motion, need_blend = needed
        gradients = overload(ctx.namespace, "confidence_warp_backward")(
            grad_output,
            *inputs,
            *ctx.options,
            need_features,
            any(need_motion),
            need_blend,
            torch.are_deterministic_algorithms_enabled(),
        )
        return (None, *first_order("confidence_warp", gradients, needed, (grad_output, *inputs)), *[None] * 4)


@register_fake("confidence_warp")
def _fake(features: Tensor, *_: Any) -> Tensor:
    return dense_like(features)


@register_fake("confidence_warp_backward")
def _fake_backward(
    grad_output: Tensor,
    features: Tensor,
    field: Tensor,
    confidence: Tensor | None,
    blend: Tensor | None,
    upsampling: str,
    interpolate_align_corners: bool,
    padding_mode: str,
    align_corners: bool,
    need_features: bool,
    need_motion: bool,
    need_blend: bool,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        dense_like(features) if need_features else empty(features),
        like_or_empty(field, need_motion),
        empty(field) if confidence is None else like_or_empty(confidence, need_motion),
        empty(features) if blend is None or not need_blend else dense_like(blend),
    )
