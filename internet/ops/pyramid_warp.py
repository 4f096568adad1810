"""Eq. 6 at every level of a feature pyramid."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from internet.ops import _checks, reference
from internet.ops._autograd import apply, first_order, overload
from internet.ops._dispatch import namespace_for
from internet.ops.confidence_warp import PADDING_MODES
from internet.ops.fakes import register_fake
from internet.ops.results import dense_like, empty, like_or_empty


def pyramid_warp(
    features: Sequence[Tensor],
    field: Tensor,
    confidence: Tensor | None = None,
    *,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> list[Tensor]:
    """:func:`confidence_warp` of several feature maps by one motion field (Eq. 6 of arXiv 2012.06134).

    Coordinates and values that are not finite: docs/conventions.md.

    Args:
        features: feature maps (B, C_i, h*2^i, w*2^i), each with its own C_i and level i >= 0, in any order; all of
            one dtype.
        field: (B, h, w, 2) motion field, normalised coordinates.
        confidence: (B, 1, h, w) multiplier, or None for 1.
        padding_mode: what lies outside the features: "zeros" or "border" (the nearest pixel inside).
        align_corners: the convention of the coordinates in `field`, as in ``grid_sample``. True needs features of the
            size of the field: the 2x steps are those of False, and would shift what True means.

    Returns:
        One warped map for each of `features`, in its shape, dtype and memory format. Differentiable in every
        tensor; the gradients of `field` and `confidence` are summed over the levels. It is a list, whose tensors
        ``torch.utils.checkpoint(use_reentrant=True)`` does not see: use ``use_reentrant=False``, or return a tuple.

    Raises:
        TypeError: an argument is not a floating-point tensor, or features not a sequence, or dtypes are mixed.
        ValueError: a shape does not fit, a ratio is not a power of two, `align_corners` is True with a ratio over 1, or
            `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    name = "pyramid_warp"
    if isinstance(features, Tensor) or not isinstance(features, Sequence):
        raise TypeError(f"{name}: features must be a sequence of Tensors, got {type(features).__name__}")
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    for i, level in enumerate(features):
        level_name = f"features[{i}]"
        _checks.floating_tensor(name, level_name, level, "B", "C", "H", "W")
        if level.dtype != features[0].dtype:
            raise TypeError(f"{name}: {level_name} is {level.dtype}, but features[0] is {features[0].dtype}")
        field, confidence = _checks.motion(name, level_name, level, field, confidence, align_corners)
    if not features:
        return []
    namespace = namespace_for(name, features[0].device)
    if namespace is None:
        return reference.pyramid_warp(
            features, field, confidence, padding_mode=padding_mode, align_corners=align_corners
        )
    return list(apply(_PyramidWarp, namespace, field, confidence, padding_mode, align_corners, *features))


class _PyramidWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        # Named parameters before *features would confuse torch.compile: a forward that has as many parameters as
        # it gets arguments is taken for one without ctx, and with two features it would be so.
        ctx.namespace, field, confidence, ctx.padding_mode, ctx.align_corners, *features = arguments
        ctx.save_for_backward(field, confidence, *features)
        return tuple(overload(ctx.namespace, "pyramid_warp")(features, *arguments[1:5]))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        field, confidence, *features = saved
        need_motion, need_features = ctx.needs_input_grad[1:3], ctx.needs_input_grad[5:]
        grad_features, grad_field, grad_confidence = overload(ctx.namespace, "pyramid_warp_backward")(
            grad_outputs,
            features,
            field,
            confidence,
            ctx.padding_mode,
            ctx.align_corners,
            need_features,
            any(need_motion),
            torch.are_deterministic_algorithms_enabled(),
        )
        gradients = first_order(
            "pyramid_warp",
            (grad_field, grad_confidence, *grad_features),
            (*need_motion, *need_features),
            (*grad_outputs, *saved),
        )
        return (None, *gradients[:2], None, None, *gradients[2:])


@register_fake("pyramid_warp")
def _fake(features: Sequence[Tensor], *_: Any) -> list[Tensor]:
    return [dense_like(level) for level in features]


@register_fake("pyramid_warp_backward")
def _fake_backward(
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
    levels = zip(features, need_features, strict=True)
    return (
        [dense_like(level) if need else empty(level) for level, need in levels],
        like_or_empty(field, need_motion),
        empty(field) if confidence is None else like_or_empty(confidence, need_motion),
    )
