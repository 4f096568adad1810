"""Eq. 6 at every level of a feature pyramid."""

from collections.abc import Sequence
from typing import Any, cast

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
    confidence: Tensor | Sequence[Tensor | None] | None = None,
    *,
    blend: Sequence[Tensor | None] | None = None,
    upsampling: str = "progressive",
    interpolate_align_corners: bool = False,
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> list[Tensor]:
    """:func:`confidence_warp` of several feature maps by one motion field (Eq. 6 of arXiv 2012.06134).

    Coordinates and values that are not finite: docs/conventions.md.

    Args:
        features: feature maps (B, C_i, H_i, W_i), each with its own channels and size, in any order; all of one dtype.
        field: (B, h, w, 2) motion field, normalised coordinates.
        confidence: (B, 1, h', w') multiplier of all levels, or None for 1; or a sequence with one per level, each with
            its own size.
        blend: a sequence with (B, C_i, H_i, W_i) or None for each level, what to show where its confidence is low; or
            None. Requires a confidence.
        upsampling: how field and confidence are resized to H_i x W_i: "progressive", by 2x steps, or "interpolate", by
            one bilinear interpolation; see :func:`confidence_warp`.
        interpolate_align_corners: the `align_corners` of that interpolation.
        padding_mode: what lies outside the features: "zeros" or "border" (the nearest pixel inside).
        align_corners: the convention of the coordinates in `field`, as in ``grid_sample``. True requires a field and
            confidences of the size of the features, or interpolation: the 2x steps follow the convention of False, so
            they would shift the coordinates of True.

    Returns:
        One warped map for each of `features`, in its shape, dtype and memory format. Differentiable with
        respect to every tensor; gradients of tensors that several levels share are summed. The result is a list, whose
        tensors ``torch.utils.checkpoint(use_reentrant=True)`` does not find: use ``use_reentrant=False``, or return a
        tuple.

    Raises:
        TypeError: an argument is not a floating-point tensor, `features` is not a sequence, or dtypes are mixed.
        ValueError: a shape does not fit; a sequence does not have one entry per level; with progressive steps, a ratio
            is not a power of two, or `align_corners` is True with a ratio over 1; `interpolate_align_corners` without
            interpolation; a `blend` without a confidence; or `upsampling` or `padding_mode` is unknown.
        RuntimeError: tensors on different devices.
    """
    name = "pyramid_warp"
    if isinstance(features, Tensor) or not isinstance(features, Sequence):
        raise TypeError(f"{name}: features must be a sequence of Tensors, got {type(features).__name__}")
    resizing = _checks.Upsampling(name, upsampling, interpolate_align_corners, align_corners)
    resizing.check()
    _checks.one_of(name, "padding_mode", padding_mode, PADDING_MODES)
    shared = isinstance(confidence, Tensor)
    confidences: list[Any] = [confidence] if shared else _per_level(name, "confidence", confidence, features)
    blends = _per_level(name, "blend", blend, features)
    for i, level in enumerate(features):
        level_name = f"features[{i}]"
        _checks.floating_tensor(name, level_name, level, "B", "C", "H", "W")
        if level.dtype != features[0].dtype:
            raise TypeError(f"{name}: {level_name} is {level.dtype}, but features[0] is {features[0].dtype}")
        mask_name, place = ("confidence", 0) if shared else (f"confidence[{i}]", i)
        mask = confidences[place] if confidences else None
        field, mask = _checks.motion(name, level_name, level, field, mask, resizing, mask_name)
        if confidences:
            confidences[place] = mask
        if blends:
            blends[i] = _checks.blend(name, f"blend[{i}]", blends[i], level_name, level, mask)
    if not features:
        return []
    namespace = namespace_for(name, features[0].device)
    options = (upsampling, interpolate_align_corners, padding_mode, align_corners)
    if namespace is None:
        return reference.pyramid_warp(
            features,
            field,
            confidences[0] if shared else confidences or None,
            blend=blends or None,
            upsampling=upsampling,
            interpolate_align_corners=interpolate_align_corners,
            padding_mode=padding_mode,
            align_corners=align_corners,
        )
    counts = (len(features), len(confidences))
    return list(apply(_PyramidWarp, namespace, options, counts, field, *features, *confidences, *blends))


def _per_level(operator: str, name: str, value: object, features: Sequence[Tensor]) -> list[Any]:
    """The entries of a sequence that must have one per level; an empty list for None."""
    if value is None:
        return []
    if isinstance(value, Tensor) or not isinstance(value, Sequence):
        raise TypeError(
            f"{operator}: {name} must be a sequence with a Tensor or None for each level, got {type(value).__name__}"
        )
    if len(value) != len(features):
        raise ValueError(
            f"{operator}: {name} has length {len(value)}, expected {len(features)}, one entry for each level"
        )
    return list(value)


class _PyramidWarp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        # Without named parameters before *tensors, because of torch.compile: it takes a forward with as many
        # parameters as arguments for one without ctx, and for some number of tensors that would be the case.
        ctx.namespace, ctx.options, ctx.counts, field, *tensors = arguments
        ctx.save_for_backward(field, *tensors)
        features, confidences, blends = _split(_without_none(tensors), *ctx.counts)
        return tuple(overload(ctx.namespace, "pyramid_warp")(features, field, confidences, blends, *ctx.options))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        field, *tensors = saved
        features, confidences, blends = _split(_without_none(tensors), *ctx.counts)
        need_field, *needed = ctx.needs_input_grad[3:]
        need_features, need_confidences, need_blends = _split(needed, *ctx.counts)
        grad_features, grad_field, grad_confidences, grad_blends = overload(ctx.namespace, "pyramid_warp_backward")(
            grad_outputs,
            features,
            field,
            confidences,
            blends,
            *ctx.options,
            need_features,
            any((need_field, *need_confidences)),
            need_blends,
            torch.are_deterministic_algorithms_enabled(),
        )
        gradients = first_order(
            "pyramid_warp",
            (grad_field, *grad_features, *grad_confidences, *grad_blends),
            (need_field, *needed),
            (*grad_outputs, *saved),
        )
        return (None, None, None, *gradients)


def _without_none(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    """Replace each None by an empty tensor, as the dispatcher's operators expect; the first must be a Tensor."""
    return [empty(cast(Tensor, tensors[0])) if tensor is None else tensor for tensor in tensors]


def _split(values: Sequence[Any], features: int, confidences: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Split values into those of the features, of the confidences and of the blends."""
    end = features + confidences
    return list(values[:features]), list(values[features:end]), list(values[end:])


@register_fake("pyramid_warp")
def _fake(features: Sequence[Tensor], *_: Any) -> list[Tensor]:
    return [dense_like(level) for level in features]


@register_fake("pyramid_warp_backward")
def _fake_backward(
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
    def gradients(levels: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor]:
        pairs = zip(levels, needed, strict=True)
        return [dense_like(level) if need and level.dim() == 4 else empty(features[0]) for level, need in pairs]

    return (
        gradients(features, need_features),
        like_or_empty(field, need_motion),
        [like_or_empty(mask, need_motion) if mask.dim() == 4 else empty(field) for mask in confidence],
        gradients(blend, need_blend),
    )
